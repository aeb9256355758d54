"""How a reply differs from what is expected, as text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, assert_never

from kvmprobe.abi.numbers import exit_name
from kvmprobe.reports.values import (
    DESCRIPTOR,
    call_text,
    fields_text,
    hex_bytes,
    result_text,
    returned,
)
from kvmprobe.results.difference import (
    KEPT_BYTES,
    BytesDiffer,
    EntryDiffers,
    ExitDiffers,
    HostSurvives,
    ImageDiffers,
    KernelTainted,
    KernelWarns,
    RegisterDiffers,
    ResultDiffers,
    TableDiffers,
    ValuesDiffer,
)
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from kvmprobe.results.difference import Difference
    from kvmprobe.results.record import Divergence
    from kvmprobe.xstate.cpuid import CpuidEntry

_SHOWN_ENTRIES = 16


@dataclass(frozen=True, slots=True)
class Shown:
    """A difference as text.

    :ivar details: where images or tables differ, one line a component or register
    """

    expected: str
    observed: str
    details: tuple[str, ...] = ()


@singledispatch
def shown(difference: Difference) -> Shown:
    """Return a difference as text."""
    raise TypeError(f"no text for {type(difference).__name__}")


@shown.register
def _(difference: ResultDiffers) -> Shown:
    expected = difference.expected
    wanted = DESCRIPTOR if expected is None else returned(expected)
    return Shown(wanted, returned(difference.observed))


def results(difference: ResultDiffers) -> Shown:
    """Return the results alone: ``1``, ``-EINVAL (22)``, or a descriptor."""
    expected = difference.expected
    wanted = DESCRIPTOR if expected is None else result_text(expected)
    return Shown(wanted, result_text(difference.observed))


@shown.register
def _(difference: ExitDiffers) -> Shown:
    expected = difference.expected
    answer = "KVM_EXIT_IO with the guest's answer"
    return Shown(answer if expected == 0 else returned(expected), exit_text(difference))


@shown.register
def _(difference: ValuesDiffer) -> Shown:
    observed = fields_text(difference.observed) or "no such value"
    return Shown(fields_text(difference.expected), observed)


@shown.register
def _(difference: BytesDiffer) -> Shown:
    lead = f"memory from byte {difference.offset}:"
    return Shown(f"{lead} {_ended(difference.expected)}", f"{lead} {_ended(difference.observed)}")


@shown.register
def _(difference: HostSurvives) -> Shown:
    return Shown(f"the host dies ({difference.reason})", returned(difference.observed))


@shown.register
def _(difference: KernelWarns) -> Shown:
    return Shown("no warning", difference.message)


@shown.register
def _(difference: KernelTainted) -> Shown:
    return Shown("unchanged", f"bits {difference.bits:#x} newly set")


def where(found: Divergence) -> tuple[str, str]:
    """Return the op of the step, and what shows the divergence: a call, the log, the taint."""
    match found.difference:
        case KernelWarns():
            return call_text(found.after), "kernel log"
        case KernelTainted():
            return "whole scenario", "kernel taint"
        case _:
            return call_text(found.after), call_text(found.call)


def exit_text(difference: ExitDiffers) -> str:
    """Return how KVM_RUN ended: ``KVM_RUN returns 0 with exit_reason KVM_EXIT_SHUTDOWN``."""
    text = f"KVM_RUN returns 0 with exit_reason {exit_name(difference.exit_reason)}"
    if difference.entry_failure is None:
        return text
    return f"{text}, hardware_entry_failure_reason {difference.entry_failure:#x}"


def _ended(content: bytes) -> str:
    return hex_bytes(content, len(content) + (len(content) == KEPT_BYTES))


@shown.register
def _(difference: TableDiffers) -> Shown:
    each = [_part(part) for part in difference.parts]
    if difference.entries:
        expected, observed = difference.entries
        each.append((f"{expected} entries", f"{observed} entries"))
    first, *others = each
    details = (f"expected {e}, observed {o}" for e, o in others[: _SHOWN_ENTRIES - 1])
    return Shown(*first, tuple(details))


def _part(part: RegisterDiffers | EntryDiffers) -> tuple[str, str]:
    match part:
        case RegisterDiffers(leaf, subleaf, register, expected, observed):
            name = f"{leaf:#x}.{subleaf:x}:{register.name}"
            return f"{name}={expected:#x}", f"{name}={observed:#x}"
        case EntryDiffers(expected, observed):
            return _entry(expected), _entry(observed)
        case _:
            assert_never(part)


def _entry(entry: CpuidEntry) -> str:
    registers = " ".join(f"{value:x}" for value in entry[3:])
    return f"leaf {entry.leaf:#x}.{entry.subleaf:x}, flags {entry.flags:#x}: {registers}"


@shown.register
def _(difference: ImageDiffers) -> Shown:
    details = [
        f"{run.where}, bytes {run.offset}-{run.offset + run.size - 1}: "
        f"expected {hex_bytes(run.expected, run.size)}, "
        f"observed {hex_bytes(run.observed, run.size)}"
        for run in difference.runs
    ]
    if difference.written is not None:
        sizes = f"{difference.size} bytes expected, {difference.written} written"
        details.append(f"extent: {sizes}")
    bitmaps = difference.expected_xstate_bv, difference.observed_xstate_bv
    expected, observed = (f"XSTATE_BV={names(bitmap)}" for bitmap in bitmaps)
    return Shown(expected, observed, tuple(details))
