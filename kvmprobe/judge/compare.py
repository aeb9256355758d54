"""One expectation against one reply."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, assert_never

from kvmprobe.abi.numbers import Msr, exit_name
from kvmprobe.errors import errno_name
from kvmprobe.judge.compare_tables import table_differences
from kvmprobe.model.fpu import FCW_FIELD
from kvmprobe.model.guest import VECTOR_FIELD, vector_name
from kvmprobe.model.msr import msr_name
from kvmprobe.model.outcome import Done, ExpectedImage, Failed, HostDies, NewDescriptor, OneOf
from kvmprobe.model.run import EXIT_FIELD
from kvmprobe.results.record import ImageDifference
from kvmprobe.scenarios.calls import CANARY
from kvmprobe.xstate.cpuid import CpuidTable
from kvmprobe.xstate.diff import Difference, differences, differing_regions
from kvmprobe.xstate.features import names
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Outcome, Unspecified
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.ops import Op

_SHOWN_BYTES = 16
_SHOWN_ENTRIES = 16
_REGISTERS = frozenset(
    {"rax", "rbx", "rcx", "rdx", "cr0", "cr4", FCW_FIELD} | set(map(msr_name, Msr))
)
_BITMAPS = frozenset(
    {"XSTATE_BV", "XCOMP_BV", "XCR0", "XSS", "XFD", "XFD_ERR", "0xD.0:EDX:EAX"}
    | {"XCOMP", "XCOMP_GUEST_SUPP"}
)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Expected and observed as text, and where images differ."""

    expected: str
    observed: str
    details: tuple[str, ...] = ()
    image: ImageDifference | None = None


def compare(outcome: Outcome, op: Op, reply: Reply, host: HostProfile) -> Mismatch | None:
    """Return None where the reply is what the model expects."""
    match outcome:
        case NewDescriptor():
            return None if reply.result >= 0 else Mismatch("a descriptor", returned(reply.result))
        case Failed():
            return _compare_failed(outcome, op, reply, host)
        case Done():
            return _compare_done(outcome, op, reply, host)
        case OneOf(choices):
            mismatches = [_compare_done(choice, op, reply, host) for choice in choices]
            return None if None in mismatches else mismatches[0]
        case HostDies(reason):
            return Mismatch(f"the host dies ({reason})", returned(reply.result))
        case _:
            assert_never(outcome)


def returned(result: int) -> str:
    """Return a result as text: ``returns 1`` or ``-EINVAL (22)``."""
    return f"-{errno_name(-result)}" if result < 0 else f"returns {result}"


def fields_text(fields: Mapping[str, int]) -> str:
    """Return named values as text, bitmaps with their components' names."""
    return ", ".join(f"{name}={_value_text(name, value)}" for name, value in fields.items())


def _value_text(name: str, value: int) -> str:
    if name == EXIT_FIELD:
        return exit_name(value)
    if name == VECTOR_FIELD:
        return vector_name(value)
    if name in _BITMAPS:
        return names(value)
    return f"{value:#x}" if name in _REGISTERS else str(value)


def _compare_failed(failed: Failed, op: Op, reply: Reply, host: HostProfile) -> Mismatch | None:
    if reply.result != -failed.errno:
        return Mismatch(returned(-failed.errno), returned(reply.result))
    if not failed.fields:
        return None
    return _compare_fields(Done(fields=failed.fields), op.read(reply.output or b"", host))


def _compare_done(done: Done, op: Op, reply: Reply, host: HostProfile) -> Mismatch | None:
    if reply.result != done.value:
        return Mismatch(returned(done.value), returned(reply.result))
    if done.image is not None:
        return _compare_image(done.image, reply.output or b"", host)
    observed = op.read(reply.output or b"", host) if done.fields else {}
    return (
        _compare_fields(done, observed)
        or _compare_memory(done, reply.output or b"")
        or _compare_table(done, reply.output or b"")
    )


def _compare_fields(done: Done, read: Mapping[str, int]) -> Mismatch | None:
    observed = {name: read.get(name, -1) for name in done.fields}
    differing = [
        name
        for name, value in done.fields.items()
        if (observed[name] ^ value) & ~done.open_fields.get(name, 0)
    ]
    if not differing:
        return None
    return Mismatch(fields_text(done.fields), fields_text(observed))


def _compare_memory(done: Done, output: bytes) -> Mismatch | None:
    if done.memory is None:
        return None
    start, size = done.memory.offset, len(done.memory.content)
    observed = output[start : start + size]
    wanted = _adopting(done.memory.content, done.memory.unspecified, observed)
    if wanted == observed:
        return None
    at = next(i for i, pair in enumerate(zip_longest(wanted, observed)) if len(set(pair)) > 1)
    return Mismatch(
        f"memory from byte {at}: {_hex(wanted[at:])}",
        f"memory from byte {at}: {_hex(observed[at:])}",
    )


def _compare_table(done: Done, output: bytes) -> Mismatch | None:
    if done.table is None:
        return None
    found = table_differences(done.table, CpuidTable.from_bytes(output))
    if not found:
        return None
    first = found[0]
    return Mismatch(first.expected, first.observed, tuple(d.text for d in found[1:_SHOWN_ENTRIES]))


def _compare_image(expected: ExpectedImage, output: bytes, host: HostProfile) -> Mismatch | None:
    size = len(expected.image)
    observed, beyond = output[:size], output[size:]
    wanted = _adopting(expected.image, expected.unspecified, observed)
    if wanted == observed and beyond.count(CANARY) == len(beyond):
        return None
    details = [_detail(d) for d in differences(wanted, observed, host.layout)]
    if beyond.count(CANARY) != len(beyond):
        written = size + len(beyond.rstrip(bytes([CANARY])))
        details.append(f"extent: {size} bytes expected, {written} written")
    return Mismatch(
        f"XSTATE_BV={names(xstate_bv_of(wanted))}",
        f"XSTATE_BV={names(xstate_bv_of(observed))}",
        tuple(details),
        ImageDifference(size, differing_regions(wanted, observed, host.layout)),
    )


def _adopting(expected: bytes, open_places: tuple[Unspecified, ...], observed: bytes) -> bytes:
    """Return the expected bytes with the observed value in each unspecified bit."""
    if not open_places or len(observed) != len(expected):
        return expected
    adopted = bytearray(expected)
    for unspecified in open_places:
        for index, bits in enumerate(unspecified.bits):
            offset = unspecified.offset + index
            adopted[offset] = adopted[offset] & ~bits & 0xFF | observed[offset] & bits
    return bytes(adopted)


def _detail(difference: Difference) -> str:
    first, last = difference.offset, difference.offset + len(difference.expected) - 1
    return (
        f"{difference.where}, bytes {first}-{last}: "
        f"expected {_hex(difference.expected)}, observed {_hex(difference.observed)}"
    )


def _hex(content: bytes) -> str:
    shown = content[:_SHOWN_BYTES].hex(" ", 4)
    return f"{shown} ..." if len(content) > _SHOWN_BYTES else shown
