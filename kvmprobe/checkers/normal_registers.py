"""What GET returns of a register structure that SET accepted: the values, and which bits are sure.

Stated normalisations only; a bit that KVM or a CPU may choose is not among the sure ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.registers import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kept = tuple[str, int, int]
"""Name of a member, its value, and the bits of it that must be so."""

_ALL = (1 << 64) - 1
_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")
# The accessed and busy bits of a type may be set by KVM (arch/x86/kvm/vmx/vmx.c: __vmx_set_segment;
# arch/x86/kvm/svm/svm.c: svm_get_segment), which also decides G by the limit.
_RIGHTS = {"type": 0xC, "present": 1, "s": 1, "dpl": 3, "l": 1, "avl": 1, "db": 1}
# SVM has the CPL in SS.DPL, and no SS.B of an unusable segment.
_RIGHTS_OF_SS = {name: bits for name, bits in _RIGHTS.items() if name not in {"dpl", "db"}}
_ET, _PG = 1 << 4, 1 << 31
_EFER_LME = 1 << 8
_RFLAGS_FIXED, _RFLAGS_VM = 1 << 1, 1 << 17
_CR8_MOST = 15
# A SIPI, also an earlier one, starts a vCPU that is in the state INIT_RECEIVED.
_STARTED_BY_SIPI = frozenset({2, 4})
# #BP and #OF are soft exceptions, of which GET shows nothing (kvm_exception_is_soft).
_SOFT = frozenset({3, 4})
_VALID_NMI_PENDING, _VALID_SHADOW, _VALID_SMM = 1, 4, 8


def kept(name: str, given: Mapping[str, int]) -> Iterator[Kept]:
    """Yield what the GET of that name returns after a SET of ``given`` was accepted.

    :see: arch/x86/kvm/x86.c (regs.c since 7.3): __get_sregs, __get_regs,
        kvm_vcpu_ioctl_x86_get_vcpu_events, kvm_vcpu_ioctl_x86_get_debugregs
    """
    match name:
        case "KVM_GET_SREGS" | "KVM_GET_SREGS2":
            yield from _segments(given)
            yield from _control(given)
        case "KVM_GET_REGS":
            # A vendor module without virtual-8086 mode does not keep RFLAGS.VM.
            fixed = {"rflags": given["rflags"] | _RFLAGS_FIXED}
            yield from _whole({**given, **fixed}, {"rflags": ~_RFLAGS_VM & _ALL})
        case "KVM_GET_VCPU_EVENTS":
            yield from _events(given)
        case "KVM_GET_FPU":
            # KVM_GET_FPU has never returned MXCSR.
            yield from _whole({n: v for n, v in given.items() if n != "mxcsr"}, {})
        case "KVM_GET_MP_STATE" if given["mp_state"] in _STARTED_BY_SIPI:
            return
        case _:
            yield from _whole(given, {})


def bits_of(name: str, member: str) -> int:
    """Return the bits of a member that :func:`kept` is sure of for some value."""
    layout = LAYOUTS[name].numbers
    found = 0
    for pattern in (0, _ALL):
        usable = dict.fromkeys(layout, pattern) | dict.fromkeys(_flags(layout), 1)
        for known, _, bits in kept(name, usable):
            found |= bits if known == member else 0
    return found


def _flags(names: Mapping[str, object]) -> list[str]:
    return [n for n in names if n.endswith("_present") or n in {"flags", "exception_injected"}]


def _whole(given: Mapping[str, int], sure: Mapping[str, int]) -> Iterator[Kept]:
    for member, value in given.items():
        yield member, value, sure.get(member, _ALL)


def _segments(given: Mapping[str, int]) -> Iterator[Kept]:
    for name in _SEGMENTS:
        for part in ("base", "limit", "selector"):
            yield f"{name}_{part}", given[f"{name}_{part}"], _ALL
        # Any bit of ``unusable`` makes it so: arch/x86/kvm/vmx/vmx.c: vmx_segment_access_rights.
        if given[f"{name}_present"] & 1 and not given[f"{name}_unusable"]:
            for part, bits in (_RIGHTS_OF_SS if name == "ss" else _RIGHTS).items():
                yield f"{name}_{part}", given[f"{name}_{part}"], bits


def _control(given: Mapping[str, int]) -> Iterator[Kept]:
    for name in ("gdt_base", "gdt_limit", "idt_base", "idt_limit"):
        yield name, given[name], _ALL
    for name in ("cr2", "cr3", "cr4", "efer", "apic_base"):
        yield name, given[name], _ALL
    # A vendor module that pages in long mode only keeps CR0.PG clear in other modes.
    sure = _ALL if given["efer"] & _EFER_LME else ~_PG
    yield "cr0", given["cr0"], ~_ET & sure & _ALL
    # kvm_set_cr8 ignores a value with reserved bits.
    if given["cr8"] <= _CR8_MOST:
        yield "cr8", given["cr8"], _ALL
    if "flags" in given:
        if given["flags"]:
            yield from _whole({n: v for n, v in given.items() if n[:6] in {"flags", "pdptrs"}}, {})
        return
    # One interrupt is injected, the one with the lowest vector.
    bitmap = sum(given[f"interrupt_bitmap{nr}"] << 64 * nr for nr in range(4))
    for nr in range(4) if bitmap else ():
        yield f"interrupt_bitmap{nr}", (bitmap & -bitmap) >> 64 * nr & _ALL, _ALL


def _events(given: Mapping[str, int]) -> Iterator[Kept]:
    flags = given["flags"]
    if given["exception_injected"] and given["exception_nr"] not in _SOFT:
        yield "exception_injected", 1, 1
        yield "exception_nr", given["exception_nr"], _ALL
    if given["interrupt_injected"] and not given["interrupt_soft"]:
        yield "interrupt_injected", 1, 1
        yield "interrupt_nr", given["interrupt_nr"], _ALL
    if flags & _VALID_SHADOW and not given["interrupt_shadow"]:
        yield "interrupt_shadow", 0, _ALL
    yield "nmi_injected", int(bool(given["nmi_injected"])), _ALL
    yield "nmi_masked", int(bool(given["nmi_masked"])), _ALL
    if flags & _VALID_NMI_PENDING and not given["nmi_pending"]:
        yield "nmi_pending", 0, _ALL
    if flags & _VALID_SMM:
        yield "smi_smm", int(bool(given["smi_smm"])), _ALL
        yield "smi_pending", int(bool(given["smi_pending"])), _ALL
