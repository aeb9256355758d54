"""The records of a run: values, which reports render as text.

:mod:`kvmprobe.results.record_json` has the JSON form.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads the types of the fields
from dataclasses import dataclass, field
from functools import cached_property
from json import dumps
from typing import Any

from kvmprobe.model.rule import Rule  # noqa: TC001
from kvmprobe.results.claim import Claim  # noqa: TC001
from kvmprobe.results.codec import to_json
from kvmprobe.results.difference import Difference
from kvmprobe.results.hang import Hang  # noqa: TC001
from kvmprobe.results.host_variant import DEFAULT_HOST, HostVariant
from kvmprobe.results.known import label
from kvmprobe.results.verdict import LABELLED, Verdict
from kvmprobe.scenarios.ops import Op
from kvmprobe.scenarios.scenario_id import SELFTESTS, family_of

_CALL: Any = Op | None
_DIFFERENCE: Any = Difference


@dataclass(frozen=True, slots=True)
class Target:
    """Where scenarios ran: ``host`` or ``lab``, the kernel's release, and the kernel's source.

    :ivar variant: how the emulated host differs from the default one
    """

    kind: str
    kernel: str
    source: str
    variant: HostVariant = DEFAULT_HOST

    @property
    def emulated(self) -> bool:
        """True for the emulated host."""
        return self.kind == "lab"

    @property
    def description(self) -> str:
        """Place and kernel, for people."""
        place = "emulated host" if self.emulated else "this host"
        return f"{place}, {self.release}"

    @property
    def release(self) -> str:
        """The kernel's release, and the options that the emulated host was given."""
        return f"{self.kernel} {self.variant.options}".rstrip()


@dataclass(frozen=True)
class CallRecord:
    """One kernel call: its op, its result or -errno, and the values that were read.

    Scenarios share it, so it is made text once.

    :ivar expected: the correct values, if they differ; undetermined bits as they were read
    :ivar undetermined: bits that may have either value, by field
    """

    op: Op
    result: int
    fields: Mapping[str, int] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)
    undetermined: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def texts(self) -> Mapping[str, Mapping[str, str]]:
        """The values in hexadecimal, by what they are; what is empty is left out."""
        kinds = {
            "observed": self.fields,
            "expected": self.expected,
            "undetermined": self.undetermined,
        }
        return {
            kind: {name: hex(value) for name, value in values.items()}
            for kind, values in kinds.items()
            if values
        }


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step: the call of its op, the calls of its observers, and the kernel's log during it."""

    calls: tuple[CallRecord, ...]
    kernel_log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Divergence:
    """Something that a correct kernel does not do.

    :ivar step: number of the step, from 0
    :ivar after: the op of that step; None for a scenario without steps
    :ivar call: the call that shows it: the op or an observer; None for the kernel's log or taint
    :ivar rule: the rule of the op, which is why the model expects something else
    :ivar read_by: the rule of the observer that shows it; None if the op itself does
    """

    step: int
    after: Op | None
    call: Op | None
    difference: Difference
    rule: Rule
    read_by: Rule | None = None

    @property
    def signature(self) -> str:
        """Ops and values as JSON; two divergences with the same signature are the same failure."""
        shown = (to_json(_CALL, self.after), to_json(_CALL, self.call))
        return dumps([*shown, to_json(_DIFFERENCE, self.difference)])


@dataclass(frozen=True, slots=True)
class Statement:
    """A claim with its values.

    :ivar values: numbers by name, and names of an ioctl, an MSR or a component
    :ivar ops: the calls that it is about
    """

    claim: Claim
    values: Mapping[str, int | str] = field(default_factory=dict)
    ops: tuple[Op, ...] = ()

    def __post_init__(self) -> None:
        """Check that the values are those of the claim."""
        texts = frozenset(name for name, of in self.values.items() if isinstance(of, str))
        numbers = frozenset(self.values.keys()) - texts
        if (numbers, texts) != (self.claim.numbers, self.claim.texts):
            raise ValueError(f"wrong values for {self.claim.value}: {sorted(self.values)}")


@dataclass(frozen=True, slots=True)
class ReadingsDiffer:
    """Two outputs of a call that should be equal; expected is the earlier one, or the one here."""

    op: Op
    difference: Difference


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a checker found, without the model.

    :ivar checker: name of the checker
    :ivar invariant: the statement of the contract that does not hold: ``INV-29`` or ``§9``
    :ivar step: number of the step that shows it, from 0
    :ivar statement: what is inconsistent
    :ivar details: the differences
    :ivar other: the other scenario, if two were compared
    :ivar known: ids of the known defects that explain it, in both scenarios if there are two
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
        """Checker and statement as JSON; findings with the same signature are the same failure."""
        return dumps([self.checker, to_json(Statement, self.statement)])


@dataclass(frozen=True, slots=True)
class Crash:
    """A crash of the host during a step, or an oops that killed a task.

    :ivar during: the op of that step; None if it is unknown
    :ivar report: the kernel's console text
    :ivar victim: name and id of the task that the kernel killed; empty if the host died
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
    """The result of one scenario.

    :ivar findings: what checkers found in the trace, or in comparison with another order
    :ivar known: ids of the known defects that explain all divergences, or empty
    :ivar expected_defects: ids of defects of this kernel that should have shown here
    :ivar hang: the state of its tasks at its deadline
    :ivar duration: in seconds; 0 if it did not run
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
        """The known defects that explain a failure: ``known, O1, open``; else empty."""
        claimed = self.is_judged and self.verdict in LABELLED
        return label(self.known, self.target.kernel) if claimed else ""

    @property
    def is_judged(self) -> bool:
        """True if the model has judged it, False for a test of another project."""
        return not self.id.startswith(SELFTESTS)

    @property
    def unexplained(self) -> tuple[Finding, ...]:
        """Findings that no known defect explains."""
        return tuple(finding for finding in self.findings if not finding.known)

    @property
    def explained(self) -> bool:
        """True if known defects explain everything that is wrong."""
        return bool(self.known) and not self.unexplained

    @property
    def family(self) -> str:
        """The first part of the id."""
        return family_of(self.id)
