"""Initializers for arguments that have their own structure in linux/kvm.h."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.fields import BITMAP_MSRS
from kvmprobe.abi.tables import CPUID2, MOST_XCRS, MSRS, XCRS
from kvmprobe.repro.ctext import bitmap, msr, number
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.xstate.cpuid import CpuidEntry

_XCRS_SIZE = ioctls.SET_XCRS.size


def definition(request: int, content: bytes, name: str) -> str | None:
    """Return the definition of ``name`` as the ioctl's structure, initialized with ``content``.

    None if this module does not know the structure, or the content does not fit it.
    """
    form = _FORMS.get(request)
    return form(content, name) if form else None


def cpuid_entries(entries: Sequence[CpuidEntry], name: str) -> str:
    """Return a table of ``struct kvm_cpuid_entry2``."""
    rows = "\n".join(_cpuid_row(entry, "\t") for entry in entries)
    return f"static const struct kvm_cpuid_entry2 {name}[] = {{\n{rows}\n}};"


def _msrs(content: bytes, name: str) -> str | None:
    count = MSRS.count(content)
    if not count or len(content) != MSRS.offset(count):
        return None
    entries = list(MSRS.entries(content, count))
    if MSRS.pack(entries) != content:
        return None
    rows = "\n".join(
        f"\t\t{{ .index = {msr(index)}, .data = {_msr_value(index, value)} }},"
        for index, value in entries
    )
    return _list("kvm_msrs", f"kvm_msr_entry entries[{count}]", f".nmsrs = {count}", rows, name)


def _msr_value(index: int, value: int) -> str:
    return bitmap(value) if index in BITMAP_MSRS else number(value)


def _cpuid(content: bytes, name: str) -> str | None:
    count = CPUID2.count(content)
    if not count or len(content) != CPUID2.offset(count):
        return None
    table = CpuidTable.from_bytes(content)
    if table.to_bytes() != content:
        return None
    rows = "\n".join(_cpuid_row(entry, "\t\t") for entry in table.entries)
    entries = f"kvm_cpuid_entry2 entries[{count}]"
    return _list("kvm_cpuid2", entries, f".nent = {count}", rows, name)


def _cpuid_row(entry: CpuidEntry, indent: str) -> str:
    registers = ", ".join(
        f".{register} = {getattr(entry, register):#x}"
        for register in ("eax", "ebx", "ecx", "edx")
        if getattr(entry, register)
    )
    place = f".function = {entry.leaf:#x}, .index = {entry.subleaf}"
    flags = f", .flags = {entry.flags}" if entry.flags else ""
    return f"{indent}{{ {place}{flags}{', ' if registers else ''}{registers} }},"


def _list(head: str, entries: str, count: str, rows: str, name: str) -> str:
    structure = f"static struct {{\n\tstruct {head} head;\n\tstruct {entries};\n}} {name}"
    return f"{structure} = {{\n\t.head = {{ {count} }},\n\t.entries = {{\n{rows}\n\t}},\n}};"


def _xcrs(content: bytes, name: str) -> str | None:
    count, flags = XCRS.head.packed.unpack_from(content)
    if count > MOST_XCRS or len(content) != _XCRS_SIZE:
        return None
    entries = list(XCRS.entries(content, count))
    if XCRS.pack(entries, flags).ljust(_XCRS_SIZE, b"\0") != content:
        return None
    rows = [f"\t\t{{ .xcr = {index}, .value = {bitmap(value)} }},\n" for index, value in entries]
    body = f"\t.xcrs = {{\n{''.join(rows)}\t}},\n" if rows else ""
    flagged = f"\t.flags = {flags:#x},\n" if flags else ""
    return f"static struct kvm_xcrs {name} = {{\n\t.nr_xcrs = {count},\n{flagged}{body}}};"


def _attribute(content: bytes, name: str) -> str | None:
    if len(content) != ioctls.GET_DEVICE_ATTR.size:
        return None
    flags, group, attr, address = ioctls.KVM_DEVICE_ATTR.packed.unpack(content)
    known = "KVM_X86_XCOMP_GUEST_SUPP" if (group, attr) == (0, 0) else number(attr)
    values = {"flags": number(flags), "group": number(group), "attr": known}
    body = "".join(f"\t.{field} = {value},\n" for field, value in values.items())
    addressed = f"\t.addr = {number(address)},\n" if address else ""
    return f"static struct kvm_device_attr {name} = {{\n{body}{addressed}}};"


_FORMS: dict[int, Callable[[bytes, str], str | None]] = {
    ioctls.SET_MSRS.number: _msrs,
    ioctls.GET_MSRS.number: _msrs,
    ioctls.SET_CPUID2.number: _cpuid,
    ioctls.SET_XCRS.number: _xcrs,
    ioctls.GET_DEVICE_ATTR.number: _attribute,
    ioctls.HAS_DEVICE_ATTR.number: _attribute,
}
