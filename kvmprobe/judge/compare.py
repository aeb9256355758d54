"""Compares one reply with its expected outcome; returns the difference as values."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, assert_never

from kvmprobe.abi.fields import KVM_RUN
from kvmprobe.abi.numbers import KvmExit
from kvmprobe.judge.compare_tables import table_differs
from kvmprobe.model.outcome import Done, Failed, HostDies, NewDescriptor, NotCovered, OneOf
from kvmprobe.results.difference import (
    KEPT_BYTES,
    BytesDiffer,
    ExitDiffers,
    HostSurvives,
    ImageDiffers,
    ResultDiffers,
    ValuesDiffer,
    image_differs,
)
from kvmprobe.scenarios.calls import CANARY
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import ExpectedImage, Outcome, Unspecified
    from kvmprobe.results.difference import Difference
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.ops import Op

# Reason of a KVM_EXIT_FAIL_ENTRY, which the model never expects.
_ENTRY_FAILURE = KVM_RUN[1].name


def compare(outcome: Outcome, op: Op, reply: Reply, host: HostProfile) -> Difference | None:
    """Return the difference between a reply and its expected outcome, or None."""
    match outcome:
        case NewDescriptor():
            return None if reply.result >= 0 else ResultDiffers(None, reply.result)
        case Failed():
            return _compare_failed(outcome, op, reply)
        case Done():
            return _compare_done(outcome, op, reply, host)
        case OneOf(choices):
            fits = any(_fits(choice, op, reply, host) for choice in choices)
            return None if fits else _compare_done(choices[0], op, reply, host)
        case HostDies(reason):
            return HostSurvives(reason, reply.result)
        case NotCovered():
            return None
        case _:
            assert_never(outcome)


def exit_without_answer(op: Op, reply: Reply) -> tuple[int, int | None] | None:
    """Return the exit reason if KVM_RUN returned 0 before the guest payload had answered.

    The second value is the ``hardware_entry_failure_reason`` of KVM_EXIT_FAIL_ENTRY, if the reply
    has it.  Returns None if the payload answered, or KVM_RUN failed.
    """
    if not isinstance(op, GuestOp) or reply.result <= 0:
        return None
    failed_entry = reply.result == KvmExit.FAIL_ENTRY and reply.output
    failure = int.from_bytes(reply.output[:8], "little") if failed_entry and reply.output else 0
    return reply.result, failure or None


def _result_differs(expected: int, op: Op, reply: Reply) -> Difference:
    ended = exit_without_answer(op, reply)
    return ExitDiffers(expected, *ended) if ended else ResultDiffers(expected, reply.result)


def _compare_failed(failed: Failed, op: Op, reply: Reply) -> Difference | None:
    if reply.result != -failed.errno:
        return _result_differs(-failed.errno, op, reply)
    if not failed.fields:
        return None
    return _compare_fields(Done(fields=failed.fields), op.read(reply.output or b""))


def _compare_done(done: Done, op: Op, reply: Reply, host: HostProfile) -> Difference | None:
    if reply.result != done.value:
        return _result_differs(done.value, op, reply)
    if done.image is not None:
        return _compare_image(done.image, reply.output or b"", host)
    observed = op.read(reply.output or b"") if done.fields else {}
    return (
        _compare_fields(done, observed)
        or _compare_memory(done, reply.output or b"")
        or _compare_table(done, reply.output or b"")
    )


def _fits(done: Done, op: Op, reply: Reply, host: HostProfile) -> bool:
    """Return True if the reply is as expected, without looking for where images differ."""
    if done.image is None or reply.result != done.value:
        return _compare_done(done, op, reply, host) is None
    return _is_image(done.image, reply.output or b"")


def _compare_fields(done: Done, read: Mapping[str, int]) -> ValuesDiffer | None:
    for name, value in done.fields.items():
        if name not in read or (read[name] ^ value) & ~done.open_fields.get(name, 0):
            shown = (*done.fields, _ENTRY_FAILURE)
            observed = {name: read[name] for name in shown if name in read}
            return ValuesDiffer(dict(done.fields), observed)
    return None


def _compare_memory(done: Done, output: bytes) -> BytesDiffer | None:
    if done.memory is None:
        return None
    start, size = done.memory.offset, len(done.memory.content)
    observed = output[start : start + size]
    wanted = _with_observed(done.memory.content, done.memory.unspecified, observed)
    if wanted == observed:
        return None
    at = next(i for i, pair in enumerate(zip_longest(wanted, observed)) if len(set(pair)) > 1)
    kept = slice(at, at + KEPT_BYTES)
    return BytesDiffer(at, wanted[kept], observed[kept])


def _compare_table(done: Done, output: bytes) -> Difference | None:
    return table_differs(done.table, CpuidTable.from_bytes(output)) if done.table else None


def _compare_image(
    expected: ExpectedImage, output: bytes, host: HostProfile
) -> ImageDiffers | None:
    if _is_image(expected, output):
        return None
    size = len(expected.image)
    observed, beyond = output[:size], output[size:]
    wanted = _with_observed(expected.image, expected.unspecified, observed)
    written = None if _is_untouched(beyond) else size + len(beyond.rstrip(bytes([CANARY])))
    return image_differs(wanted, observed, host.layout, written)


def _is_image(expected: ExpectedImage, output: bytes) -> bool:
    observed, beyond = output[: len(expected.image)], output[len(expected.image) :]
    wanted = _with_observed(expected.image, expected.unspecified, observed)
    return wanted == observed and _is_untouched(beyond)


def _is_untouched(beyond: bytes) -> bool:
    return beyond.count(CANARY) == len(beyond)


def _with_observed(expected: bytes, unspecified: tuple[Unspecified, ...], observed: bytes) -> bytes:
    """Return the expected bytes with the observed value in each unspecified bit."""
    if not unspecified or len(observed) != len(expected):
        return expected
    merged = bytearray(expected)
    for place in unspecified:
        for index, bits in enumerate(place.bits):
            offset = place.offset + index
            merged[offset] = merged[offset] & ~bits & 0xFF | observed[offset] & bits
    return bytes(merged)
