"""The verdict on a selftest, from its end and its output.  Pure.

:see: Linux, tools/testing/selftests/kselftest.h (exit status), lib/assert.c of KVM's (assertions)
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SKIPPED = 4
_LAST_LINES = 40
_LONGEST_LINE = 300
_SKIP = re.compile(r"#\s*SKIP\b[\s:-]*(?P<why>.*)|^\s*\[SKIP\]\s*(?P<said>.*)", re.IGNORECASE)
_FAIL = re.compile(r"^\s*\[FAIL\]\s*(?P<said>.*)|^\s*not ok \d+\s*(?P<name>.*)")
_ASSERTION = "==== Test Assertion Failure ===="
# A line of the assertion's call trace: number, address, place.
_FRAME = re.compile(r"^\s*(?:\d+\s+0x[0-9a-f]+|pid=|\(stack trace empty\))")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    :ivar status: its exit status; None if it did not exit
    :ivar signal: the number of the signal that killed it, or 0
    :ivar overran: True if it was killed at its deadline
    """

    status: int | None = None
    signal: int = 0
    overran: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with its reason.

    :ivar reason: the end of the output if it failed, and in the last line what it comes to; empty
        if it passed completely
    """

    verdict: Verdict
    reason: str


def outcome_of(ended: Ended, output: str) -> Outcome:
    """Return the verdict on a test that ended; its exit status decides, as in kselftest's runner.

    :param output: standard output and error, as they came
    """
    lines = [line.rstrip()[:_LONGEST_LINE] for line in output.splitlines() if line.strip()]
    if ended.overran:
        return _failed(Verdict.TIMED_OUT, lines, "did not end before its deadline")
    if ended.signal:
        return _failed(Verdict.FAILED, lines, f"killed by {_signal_name(ended.signal)}")
    if ended.status == _SKIPPED:
        why = next(_skips(lines), "") or _last(lines) or "gave no reason"
        return Outcome(Verdict.SKIPPED, why)
    if ended.status == 0:
        left = list(dict.fromkeys(filter(None, _skips(lines))))
        return Outcome(Verdict.PASS, f"in part; skipped: {'; '.join(left)}" if left else "")
    return _failed(Verdict.FAILED, lines, _failure(lines) or f"exit status {ended.status}")


def _failed(verdict: Verdict, lines: Sequence[str], reason: str) -> Outcome:
    return Outcome(verdict, "\n".join((*lines[-_LAST_LINES:], reason)))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _skips(lines: Sequence[str]) -> Iterator[str]:
    """Yield the reasons of what was skipped."""
    for line in lines:
        if found := _SKIP.search(line):
            yield (found["why"] or found["said"] or "").strip()


def _failure(lines: Sequence[str]) -> str:
    """Return the place and the message of an assertion, what failed, or the last line."""
    sources: tuple[Callable[[Sequence[str]], str], ...] = (_assertion, _failures, _last)
    return next(filter(None, (source(lines) for source in sources)), "")


def _assertion(lines: Sequence[str]) -> str:
    if _ASSERTION not in [line.strip() for line in lines]:
        return ""
    at = next(number for number, line in enumerate(lines) if line.strip() == _ASSERTION)
    told = [line.strip() for line in lines[at + 1 :] if not _FRAME.match(line)]
    return ": ".join(told[:2])


def _failures(lines: Sequence[str]) -> str:
    found = [match for line in lines if (match := _FAIL.search(line))]
    said = list(dict.fromkeys((m["said"] or m["name"] or "").strip("- \t") for m in found))
    return "; ".join(filter(None, said[:3]))


def _last(lines: Sequence[str]) -> str:
    return lines[-1].strip() if lines else ""
