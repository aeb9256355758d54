"""Differences between a reply and what is expected, as text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, assert_never

from kvmprobe.abi.fields import kind_of
from kvmprobe.abi.layout import FieldKind
from kvmprobe.abi.numbers import exit_name
from kvmprobe.reports.values import (
    DESCRIPTOR,
    call_text,
    errno_symbol,
    fields_text,
    hex_bytes,
    result_text,
    returned,
    short_text,
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

_MOST_ENTRIES = 16


@dataclass(frozen=True, slots=True)
class Shown:
    """A difference as text.

    :ivar fault: what the kernel does wrong, as a short predicate of the call: ``returns -EINVAL``
    :ivar details: where images or tables differ, one line for each component or register
    """

    expected: str
    observed: str
    fault: str
    details: tuple[str, ...] = ()


@singledispatch
def shown(difference: Difference) -> Shown:
    """Return a difference as text."""
    raise TypeError(f"no text for {type(difference).__name__}")


@shown.register
def _(difference: ResultDiffers) -> Shown:
    expected = difference.expected
    wanted = DESCRIPTOR if expected is None else returned(expected)
    fault = f"returns {errno_symbol(difference.observed)}"
    return Shown(wanted, returned(difference.observed), fault)


def results(difference: ResultDiffers) -> tuple[str, str]:
    """Return both results without a verb: ``1``, ``-EINVAL (22)``, or a descriptor."""
    expected = difference.expected
    wanted = DESCRIPTOR if expected is None else result_text(expected)
    return wanted, result_text(difference.observed)


@shown.register
def _(difference: ExitDiffers) -> Shown:
    expected, reason = difference.expected, exit_name(difference.exit_reason)
    wanted = "KVM_EXIT_IO with the guest's answer" if expected == 0 else returned(expected)
    observed = f"KVM_RUN returns 0 with exit_reason {reason}"
    if difference.entry_failure is not None:
        observed += f", hardware_entry_failure_reason {difference.entry_failure:#x}"
    return Shown(wanted, observed, f"exits with {reason}")


@shown.register
def _(difference: ValuesDiffer) -> Shown:
    expected, observed = difference.expected, difference.observed
    text = fields_text(observed) or "no such value"
    return Shown(fields_text(expected), text, _wrong_values(difference))


def _wrong_values(difference: ValuesDiffer) -> str:
    observed = difference.observed
    wrong = [name for name, value in difference.expected.items() if observed.get(name) != value]
    for first in wrong[:1]:
        if kind_of(first) is FieldKind.EXIT_REASON and first in observed:
            return f"exits with {exit_name(observed[first])}"
    texts = (
        f"{name}={short_text(name, observed[name])}" if name in observed else f"no {name}"
        for name in wrong[:2]
    )
    return f"returns wrong {' and '.join(texts) or 'values'}"


@shown.register
def _(difference: BytesDiffer) -> Shown:
    expected, observed = (
        f"memory from byte {difference.offset}: {_kept(content)}"
        for content in (difference.expected, difference.observed)
    )
    return Shown(expected, observed, f"returns wrong memory from byte {difference.offset}")


def _kept(content: bytes) -> str:
    return hex_bytes(content, len(content) + (len(content) == KEPT_BYTES))


@shown.register
def _(difference: HostSurvives) -> Shown:
    expected = f"the host dies ({difference.reason})"
    return Shown(expected, returned(difference.observed), "returns")


@shown.register
def _(difference: KernelWarns) -> Shown:
    return Shown("no warning", difference.message, "makes the kernel warn")


@shown.register
def _(difference: KernelTainted) -> Shown:
    return Shown("unchanged", f"bits {difference.bits:#x} newly set", "taints the kernel")


@shown.register
def _(difference: TableDiffers) -> Shown:
    parts = [_part(part) for part in difference.parts]
    if difference.entries:
        expected, observed = difference.entries
        parts.append((f"{expected} entries", f"{observed} entries"))
    (expected_first, observed_first), *others = parts
    details = (f"expected {e}, observed {o}" for e, o in others[: _MOST_ENTRIES - 1])
    first = difference.parts[0] if difference.parts else None
    at = f" {first.leaf:#x}.{first.subleaf:x}" if isinstance(first, RegisterDiffers) else ""
    return Shown(expected_first, observed_first, f"returns wrong CPUID{at}", tuple(details))


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
    places = [run.where for run in difference.runs if run.where != "XSTATE_BV"] or ["XSTATE_BV"]
    return Shown(expected, observed, f"returns wrong {' and '.join(places[:2])}", tuple(details))


def where(found: Divergence) -> tuple[str, str]:
    """Return the op of the step, and what shows the divergence: a call, the log, the taint."""
    match found.difference:
        case KernelWarns():
            return call_text(found.after), "kernel log"
        case KernelTainted():
            return "whole scenario", "kernel taint"
        case _:
            return call_text(found.after), call_text(found.call)
