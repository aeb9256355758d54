"""The signature of a failure: what two failures of the same cause have in common.

It has no numbers of steps, addresses, offsets or random values, so that a scenario keeps it while
it is reduced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING

from kvmprobe.errors import errno_name
from kvmprobe.results.difference import (
    BytesDiffer,
    Difference,
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
from kvmprobe.results.fault import fault
from kvmprobe.results.record import ReadingsDiffer
from kvmprobe.results.verdict import Verdict
from kvmprobe.xstate.features import DYNAMIC, FPSSE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.results.record import Crash, Divergence, Finding, ScenarioRecord

_DIGITS = 6
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b(?:/0x[0-9a-f]+)?")
# Values of a claim that name something; other texts are contents.
_NAMES = frozenset({"register", "call", "field", "member", "region"})
_KINDS = {"legacy": FPSSE, "dynamic": DYNAMIC, "other": ~(FPSSE | DYNAMIC)}
_SLUG = re.compile(r"[^a-z0-9]+")


class Explained(Enum):
    """Whether known defects explain failures."""

    BY_KNOWN_DEFECTS = "what known defects predict is no failure"
    BY_NOTHING = "what known defects predict is a failure as any other"


@dataclass(frozen=True, slots=True)
class Signature:
    """What identifies a failure.

    :ivar kind: ``divergence``, ``finding``, ``crash``, ``warning``, or a verdict
    :ivar what: the rule, the checker's claim, or the kind of fault
    :ivar where: the call and the field, or the functions of the call trace, innermost first
    """

    kind: str
    what: str
    where: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A name for files: the kind, the first place, and digits of a hash."""
        place = _SLUG.sub("-", " ".join(self.where[:2]).lower()).strip("-")[:40]
        return "-".join(filter(None, (self.kind, place, self.digits)))

    @property
    def digits(self) -> str:
        """Digits of a hash, by which a table refers to it."""
        text = "\n".join((self.kind, self.what, *self.where))
        return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.kind}: {self.what}" + (f" ({', '.join(self.where)})" if self.where else "")


def signatures_of(record: ScenarioRecord, explained: Explained) -> tuple[Signature, ...]:
    """Return the signatures of all failures of a scenario, the most telling one first.

    That is a crash; then what came first.  A comparison with another scenario counts only if one of
    the two was derived from the other.
    """
    if explained is Explained.BY_KNOWN_DEFECTS and record.explained:
        return ()
    found = sorted(_placed(record, explained), key=lambda placed: placed[0])
    ended = (Verdict.TIMED_OUT, Verdict.BROKEN)
    others = [Signature(record.verdict.value.lower(), "")] if record.verdict in ended else []
    if record.verdict is Verdict.CRASHED:
        others = [_of_crash(record.crash) if record.crash else Signature("killed", "by a signal")]
    return tuple(dict.fromkeys((*others, *(signature for _, signature in found))))


def _placed(record: ScenarioRecord, explained: Explained) -> Iterator[tuple[int, Signature]]:
    ignored = explained is Explained.BY_NOTHING
    if ignored or not record.known:
        for divergence in record.divergences:
            yield divergence.step, _of_divergence(divergence)
    for finding in record.findings:
        if (ignored or not finding.known) and _is_own(finding, record):
            yield finding.step, _of_finding(finding)


def _is_own(finding: Finding, record: ScenarioRecord) -> bool:
    if not finding.other:
        return True
    one, other = sorted((finding.other, record.id), key=len)
    return other.startswith(f"{one}.")


def _of_divergence(divergence: Divergence) -> Signature:
    difference = divergence.difference
    if isinstance(difference, KernelWarns):
        return _of_report("warning", difference.message)
    # The call that shows it: what went wrong may have done so long before.
    rule = divergence.read_by or divergence.rule
    call = divergence.call.interface if divergence.call else ""
    where = (call, *_place(difference))
    return Signature("divergence", rule.statement, tuple(filter(None, where)))


def _of_finding(finding: Finding) -> Signature:
    """Return checker, claim, and the calls whose readings differ or that it is about."""
    readings = [part.op for part in finding.details if isinstance(part, ReadingsDiffer)][:1]
    calls = tuple(dict.fromkeys(op.interface for op in readings or finding.statement.ops))
    texts = tuple(str(v) for name, v in finding.statement.values.items() if name in _NAMES)
    what = f"{finding.checker} {finding.invariant} {finding.statement.claim.value}"
    return Signature("finding", what, (*calls, *texts))


def _of_report(kind: str, headline: str, functions: tuple[str, ...] = ()) -> Signature:
    found = fault(headline, functions)
    if found is None:
        return Signature(kind, _NUMBER.sub("N", headline).strip(), tuple(filter(None, functions)))
    return Signature(kind, f"{found.kind}: {found.what}", found.path)


def _of_crash(crash: Crash) -> Signature:
    return _of_report("crash", crash.headline, (crash.function, *crash.frames))


def _place(difference: Difference) -> tuple[str, ...]:  # noqa: PLR0911 - one for each kind
    match difference:
        case ResultDiffers(expected, observed):
            return (f"{_result(expected)} expected, {_result(observed)} observed",)
        case ExitDiffers(exit_reason=reason):
            return (f"exit reason {reason}",)
        case ValuesDiffer(expected, observed):
            return tuple(name for name in expected if expected[name] != observed.get(name))[:1]
        case ImageDiffers():
            return _in_image(difference)
        case TableDiffers(parts=(RegisterDiffers(leaf=leaf, register=register), *_)):
            return (f"leaf {leaf:#x}", register.name)
        case TableDiffers():
            return ("entries",)
        case BytesDiffer():
            return ("memory",)
        case KernelTainted(bits):
            return (f"taint {bits:#x}",)
        case HostSurvives() | KernelWarns():
            return ()


def _result(value: int | None) -> str:
    if value is None:
        return "a descriptor"
    return errno_name(-value) if value < 0 else "no error"


def _in_image(difference: ImageDiffers) -> tuple[str, ...]:
    """Return which kinds of components are there and should not be, or the other way round."""
    expected, observed = difference.expected_xstate_bv, difference.observed_xstate_bv
    changes = {"gained": observed & ~expected, "lost": expected & ~observed}
    found = [
        f"{how} {kind}"
        for how, components in changes.items()
        for kind, bitmap in _KINDS.items()
        if components & bitmap
    ]
    return tuple(found) or tuple(run.where for run in difference.runs)[:1]
