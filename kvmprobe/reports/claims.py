"""The sentences for the claims of checkers.

The format of a placeholder is ``bits``, ``result``, ``prctl``, or one of Python's.
"""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.reports.differences import shown
from kvmprobe.reports.values import result_text
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ImageDiffers, ResultDiffers, ValuesDiffer
from kvmprobe.results.record import Statement
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvmprobe.results.record import Finding, ReadingsDiffer

_C = Claim
_SENTENCES: Mapping[Claim, str] = {
    _C.RESERVED_NOT_ZERO: "bytes {first} to {last} of an image are not 0",
    _C.SOFTWARE_WORD: "bytes 464-471 are {value:bits}, not ARCH_GET_XCOMP_SUPP",
    _C.BEYOND_GUEST_CPUID: "XSTATE_BV has {bits:bits}, which the guest's CPUID lacks",
    _C.EXTENT: "{call} writes {written} bytes, not {size}",
    _C.OLD_GET_XSAVE: "KVM_GET_XSAVE returns {result:result}, not {expected:result}",
    _C.FRESH_IMAGE: "the image of a new vCPU is not INIT state",
    _C.FRESH_XCR0: "XCR0 of a new vCPU is {value:bits}, not 0x1 (FP)",
    _C.ILLEGAL_HEADER: "KVM_SET_XSAVE accepts an image with XCOMP_BV or reserved header bytes",
    _C.UNSUPPORTED_COMPONENTS: "KVM_SET_XSAVE accepts {bits:bits}, which KVM does not support",
    _C.ADVERTISED_XCR0_REFUSED: "CPUID 0xD.0 advertises {bits:bits}, but KVM_SET_XCRS refuses it",
    _C.ADVERTISED_XSTATE_REFUSED: "KVM_SET_XSAVE refuses advertised components {bits:bits}",
    _C.ADVERTISED_MSR_REFUSED: "KVM_SET_MSRS refuses {register}={value:bits}, which is advertised",
    _C.LISTED_MSR_UNREADABLE: "KVM_GET_MSRS does not read MSR {index:#x}, which the index list has",
    _C.GUEST_READS_OTHER: "the guest reads {register} as {guest:bits}, the host has {host:bits}",
    _C.REQUEST_RESULT: "{ops} returns {result:result}, not {expected:result}",
    _C.REQUEST_RESULT_EITHER: (
        "{ops} returns {result:result}, neither {expected:result} nor {alternative:result}"
    ),
    _C.KERNEL_BITS_SHOWN: "{code:prctl} shows {bits:bits}",
    _C.PERMISSION_BITS: (
        "{code:prctl} is {value:bits}, not {default:bits} with or without XTILE_DATA"
    ),
    _C.GRANTED_NOT_SHOWN: "guest permission was granted, and XTILE_DATA is not in it",
    _C.XSAVE2_SHRANK: "KVM_CAP_XSAVE2 has shrunk from {before} to {now}",
    _C.PERMISSION_LOST: "{ops} has lost {bits:bits}",
    _C.XSAVE2_SIZE: "KVM_CAP_XSAVE2 is {size}, but CPUID 0xD.0:ECX is {cpuid}",
    _C.CPUID_BEYOND_KVM: "CPUID 0xD.0 has {bits:bits}, which XCOMP_GUEST_SUPP lacks",
    _C.XTILE_ALONE: "CPUID 0xD.0 has {bits:bits} alone, which no XCR0 can have",
    _C.XTILE_MISSING: "CPUID 0xD.0 lacks XTILE_DATA, although permission was granted",
    _C.UNPERMITTED_ACCEPTED: "KVM_SET_CPUID2 accepts XTILE_DATA without permission",
    _C.OTHER_MEMORY: "{ops} by a forked process returns {result:result}, not -EIO",
    _C.CHANGED_BY_OTHERS: "{call} has changed, although {ops} does not affect it",
    _C.CHANGED_BY_REFUSED: "{call} has changed, although {ops} failed",
    _C.UNSTEADY: "{call} returns another result the second time",
    _C.FPU_AND_XSAVE: "KVM_GET_FPU and KVM_GET_XSAVE2 show different x87 and SSE state",
    _C.FPU_FIELD: "{field}: KVM_GET_FPU {fpu}, KVM_GET_XSAVE2 {xsave}",
    _C.XSAVE_AND_XSAVE2: "KVM_GET_XSAVE and KVM_GET_XSAVE2 give different images of one state",
    _C.SET_AND_GET: "{register} was accepted as {accepted:bits} and reads as {read:bits}",
    _C.CPUID_ENTRIES: "KVM_GET_CPUID2 returns other entries than KVM_SET_CPUID2 accepted",
    _C.CPUID_ENTRY_MISSING: ("{leaf:#x}.{subleaf}: {eax:#x} {ebx:#x} {ecx:#x} {edx:#x} is missing"),
    _C.STANDARD_SIZE: "CPUID 0xD.0:EBX is {value}, but XCR0={xcr0:#x} takes {size} bytes",
    _C.COMPACTED_SIZE: "CPUID 0xD.1:EBX is {value}, but XCR0|XSS={enabled:#x} takes {size} bytes",
    _C.OSXSAVE: "CPUID 1:ECX.OSXSAVE is not CR4.OSXSAVE, which is {cr4}",
    _C.OSPKE: "CPUID 7.0:ECX.OSPKE is not CR4.PKE, which is {cr4}",
    _C.RESTORED_AND_SAVED: "KVM_GET_XSAVE2 does not return what KVM_SET_XSAVE accepted",
    _C.XSTATE_GAINED: "XSTATE_BV has gained {bits:bits}",
    _C.XSTATE_LOST: "XSTATE_BV has lost {bits:bits}",
    _C.CONTENT_CHANGED: "{bits:bits} differs from what was restored",
    _C.CONTENT_NOT_INIT: "{bits:bits} is not INIT",
    _C.MXCSR: "MXCSR is {value:#x}, not {expected:#x}",
    _C.XSTATE_AND_XFD: "XSTATE_BV and XFD both have {bits:bits}: the next guest-FPU load faults",
    _C.ORDER_MATTERS: "{ops}: both orders return the same results, but the states differ",
    _C.NOT_KEPT: "{call} does not return what {set} accepted",
    _C.MEMBER: "{member} is {read:#x}, not {expected:#x}",
    _C.REGISTER_NOT_KEPT: "register {register:#x} was written as {accepted:#x}, reads {read:#x}",
    _C.SREGS_AND_SREGS2: "KVM_GET_SREGS and KVM_GET_SREGS2 show different registers",
    _C.TWO_VALUES: "register {register:#x} reads as {first:#x} and as {second:#x}",
    _C.RESERVED_ACCEPTED: "{call} accepts the reserved bits {value:#x} of {member}",
    _C.LEGAL_REFUSED: "{call} refuses what is always legal, or what the GET ioctl returned",
    _C.ENTRY_FAILURE: "KVM_EXIT_FAIL_ENTRY has reason {value:#x}, not that of a guest's state",
    _C.STILL_NOT_ENTERED: "KVM_EXIT_FAIL_ENTRY with the SREGS of a vCPU that has not run",
    _C.READS_MATTER: "{ops}: what it does, or leaves, depends on whether state was read before",
    _C.REPEATS_MATTER: "{ops}: what it does, or leaves, depends on a step that must not matter",
    _C.PLACE_MATTERS: "{ops}: what it does, or leaves, is not the same after a move",
    _C.HOST_REGISTERS_MATTER: (
        "{ops}: what it does, or leaves, depends on the FPU registers of the calling thread"
    ),
    _C.HOST_REGISTERS_CHANGED: (
        "{ops} changes the calling thread's {region}, at byte {offset} of an XSAVE image: "
        "{expected} before, {observed} after"
    ),
    _C.COMPETITION_MATTERS: (
        "{ops}: what it does, or leaves, depends on a process that competes for the CPU"
    ),
    _C.CPU_MATTERS: "{ops}: what it does, or leaves, is not the same after a move to another CPU",
    _C.COMPETING_REGISTERS_CHANGED: (
        "during {ops} the {region} of a process that competes for the CPU changes, at byte "
        "{offset} of an XSAVE image: {expected} before, {observed} after"
    ),
    _C.IMAGE_SIZES: "{ops}: {first} bytes here, {second} there",
}
_PRCTLS = {int(code): f"ARCH_{code.name}" for code in ArchPrctlCode}
_FORMATS: Mapping[str, Callable[[Any], str]] = {
    "bits": names,
    "result": result_text,
    "prctl": lambda code: _PRCTLS.get(code, f"arch_prctl({code:#x})"),
}


class _Formatter(Formatter):
    def format_field(self, value: object, format_spec: str) -> str:
        named = _FORMATS.get(format_spec)
        return named(value) if named else format(value, format_spec)


def statement_text(statement: Statement) -> str:
    """Return a claim as a sentence without a full stop."""
    ops = " and ".join(dict.fromkeys(op.text for op in statement.ops))
    return _Formatter().format(_SENTENCES[statement.claim], **{**statement.values, "ops": ops})


def finding_text(found: Finding) -> str:
    """Return a finding as a sentence without a full stop."""
    return statement_text(found.statement)


def finding_details(found: Finding) -> list[str]:
    """Return the differences, one line for each value or component."""
    both = ("here", "there") if found.other else ("before", "now")
    return [line for detail in found.details for line in _detail(detail, both)]


def _detail(detail: Statement | ReadingsDiffer, both: tuple[str, str]) -> Iterator[str]:
    if isinstance(detail, Statement):
        yield statement_text(detail)
        return
    lead, (one, other), what = f"{detail.op.text}: ", both, detail.difference
    match what:
        case ResultDiffers(expected, observed) if expected is not None:
            yield f"{lead}{result_text(expected)} {one}, {result_text(observed)} {other}"
        case ValuesDiffer(expected, observed):
            for name, value in expected.items():
                yield f"{lead}{name} is {value:#x} {one}, {observed.get(name, 0):#x} {other}"
        case ImageDiffers():
            if what.expected_xstate_bv != what.observed_xstate_bv:
                first, second = names(what.expected_xstate_bv), names(what.observed_xstate_bv)
                yield f"{lead}XSTATE_BV={first} {one}, {second} {other}"
            for run in what.runs:
                last = run.offset + run.size - 1
                contents = f"{run.expected[:8].hex()} {one}, {run.observed[:8].hex()} {other}"
                yield f"{run.where}, bytes {run.offset}-{last}: {contents}"
        case _:
            text = shown(what)
            yield f"{lead}{text.expected} {one}, {text.observed} {other}"
