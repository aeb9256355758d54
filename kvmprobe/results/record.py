"""What a run found out about each scenario: values; reports make text of them.

:mod:`kvmprobe.results.record_json` has the JSON form.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads the types of the fields
from dataclasses import dataclass, field
from json import dumps
from typing import Any

from kvmprobe.model.rule import Rule  # noqa: TC001
from kvmprobe.results.claim import Claim  # noqa: TC001
from kvmprobe.results.codec import to_json
from kvmprobe.results.difference import Difference
from kvmprobe.results.hang import Hang  # noqa: TC001
from kvmprobe.results.known import label
from kvmprobe.results.verdict import LABELLED, Verdict
from kvmprobe.scenarios.ops import Op
from kvmprobe.scenarios.scenario_id import family_of

_CALL: Any = Op | None
_DIFFERENCE: Any = Difference


@dataclass(frozen=True, slots=True)
class Target:
    """Where scenarios ran: ``host`` or ``lab``, on which kernel, and where that came from."""

    kind: str
    kernel: str
    source: str

    @property
    def emulated(self) -> bool:
        """Whether it is the emulated host."""
        return self.kind == "lab"

    @property
    def description(self) -> str:
        """Place and kernel, for people."""
        return f"{'emulated host' if self.emulated else 'this host'}, {self.kernel}"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One kernel call: what was asked, what came back (result, or -errno), what was read.

    :ivar expected: what a correct kernel shows where that is something else; bits that it may show
        either way as they were read
    :ivar undetermined: those bits, by field
    """

    op: Op
    result: int
    fields: Mapping[str, int] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)
    undetermined: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step: its op, then its observers; and what the kernel logged meanwhile."""

    calls: tuple[CallRecord, ...]
    kernel_log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Divergence:
    """Something that a correct kernel does not do.

    :ivar step: number of the step, from 0
    :ivar after: the op of that step; None of a scenario without steps
    :ivar call: the call that shows it: that op itself, or an observer; None where no call does,
        but the kernel's log or its taint
    :ivar rule: why the model expects something else: the rule of the op
    :ivar read_by: the rule of the observer that shows it; None if none does
    """

    step: int
    after: Op | None
    call: Op | None
    difference: Difference
    rule: Rule
    read_by: Rule | None = None

    @property
    def signature(self) -> str:
        """What makes two divergences the same, at any step: ops and values, as JSON."""
        shown = (to_json(_CALL, self.after), to_json(_CALL, self.call))
        return dumps([*shown, to_json(_DIFFERENCE, self.difference)])


@dataclass(frozen=True, slots=True)
class Statement:
    """A claim, and the values that it is about.

    :ivar values: numbers by name; or a name of an ioctl, an MSR, a component
    :ivar ops: the calls that it is about
    """

    claim: Claim
    values: Mapping[str, int | str] = field(default_factory=dict)
    ops: tuple[Op, ...] = ()

    def __post_init__(self) -> None:
        """Refuse other values than the claim is about."""
        texts = frozenset(name for name, of in self.values.items() if isinstance(of, str))
        numbers = frozenset(self.values.keys()) - texts
        if (numbers, texts) != (self.claim.numbers, self.claim.texts):
            raise ValueError(f"not the values of {self.claim.value}: {sorted(self.values)}")


@dataclass(frozen=True, slots=True)
class ReadingsDiffer:
    """Two outputs of one call that should be the same: expected is the one before, or here."""

    op: Op
    difference: Difference


@dataclass(frozen=True, slots=True)
class Finding:
    """What a checker found without asking the model.

    :ivar checker: its name
    :ivar invariant: what of the contract it broke, ``INV-29`` or ``§9``
    :ivar step: number of the step that shows it, from 0
    :ivar statement: what is inconsistent
    :ivar details: where it differs
    :ivar other: the other scenario, where two were compared
    :ivar known: identifiers of the known defects that explain both scenarios, or empty
    """

    checker: str
    invariant: str
    step: int
    statement: Statement
    details: tuple[Statement | ReadingsDiffer, ...] = ()
    other: str = ""
    known: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        """What makes two findings the same, at any step: the checker and its statement, as JSON."""
        return dumps([self.checker, to_json(Statement, self.statement)])


@dataclass(frozen=True, slots=True)
class Crash:
    """The host died during a step; ``report`` is the kernel's console text.

    :ivar during: the op of that step; None where it is not known
    :ivar victim: the task that the kernel killed while the host went on: name and id
    """

    step: int
    during: Op | None
    headline: str
    function: str
    frames: tuple[str, ...]
    report: str
    victim: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioRecord:
    """One scenario's outcome.

    :ivar findings: what checkers found in the trace, or between it and another order's
    :ivar known: identifiers of known defects that explain all divergences, or empty
    :ivar expected_defects: identifiers of this kernel's defects that should have shown here
    :ivar hang: what was going on when its time was up
    :ivar duration: seconds, 0 where nothing ran
    """

    id: str
    row: str
    column: str
    target: Target
    verdict: Verdict
    reason: str = ""
    steps: tuple[StepRecord, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    findings: tuple[Finding, ...] = ()
    known: tuple[str, ...] = ()
    expected_defects: tuple[str, ...] = ()
    crash: Crash | None = None
    hang: Hang | None = None
    duration: float = 0.0

    @property
    def label(self) -> str:
        """The verdict and its standing: ``DIVERGED: known, O1, open``."""
        return ": ".join(filter(None, (self.verdict.value, self.standing)))

    @property
    def standing(self) -> str:
        """Which known defects explain a failure: ``known, O1, open``; else empty."""
        return label(self.known, self.target.kernel) if self.verdict in LABELLED else ""

    @property
    def unexplained(self) -> tuple[Finding, ...]:
        """The findings that no known defect explains."""
        return tuple(finding for finding in self.findings if not finding.known)

    @property
    def explained(self) -> bool:
        """Whether known defects explain all that is wrong with it."""
        return bool(self.known) and not self.unexplained

    @property
    def family(self) -> str:
        """The first part of the id: which table the scenario belongs to."""
        return family_of(self.id)
