"""Records of one run, and their JSON form.

Schema ``kvmprobe-run/1``: an object with ``schema``, ``tool``, ``command``, ``scenarios`` (one
object a scenario, one a line), ``targets`` and ``summary``.  Values that were read are strings in
hexadecimal, durations seconds.  A step has ``expected`` where a correct kernel shows other values
than were observed, just those, and ``undetermined`` where it may show some bits either way;
:mod:`kvmprobe.results.step_json` tells which of its calls has them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kvmprobe.results.known import label
from kvmprobe.results.step_json import steps_to_json
from kvmprobe.results.verdict import LABELLED, Verdict
from kvmprobe.scenarios.scenario_id import family_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.results.hang import Hang
    from kvmprobe.xstate.diff import DifferingRegion

SCHEMA = "kvmprobe-run/1"


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

    text: str
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
class ImageDifference:
    """Where an XSAVE image of ``size`` bytes is not as expected, by field and component."""

    size: int
    regions: tuple[DifferingRegion, ...]


@dataclass(frozen=True, slots=True)
class Divergence:
    """Expected is not observed.

    :ivar step: number of the step, from 0
    :ivar after: the op of that step, as text
    :ivar call: the call that shows it: the op itself, or an observer
    :ivar rule: why the model expects it, with its source
    :ivar details: where images differ, one line a component
    :ivar image: the same to be drawn; None if no images were compared
    """

    step: int
    after: str
    call: str
    expected: str
    observed: str
    rule: str
    details: tuple[str, ...] = ()
    image: ImageDifference | None = None

    @property
    def signature(self) -> tuple[str, ...]:
        """What makes two divergences the same, wherever in a sequence they show."""
        return (self.after, self.call, self.expected, self.observed, *self.details)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a checker found without asking the model.

    :ivar checker: its name
    :ivar invariant: what of the contract it broke, ``INV-29`` or ``§9``
    :ivar step: number of the step that shows it, from 0
    :ivar text: what is inconsistent
    :ivar details: where images differ, one line a component
    :ivar other: the other scenario, where two were compared
    :ivar known: identifiers of the known defects that explain both scenarios, or empty
    """

    checker: str
    invariant: str
    step: int
    text: str
    details: tuple[str, ...] = ()
    other: str = ""
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Crash:
    """The host died during a step; ``report`` is its own words.

    :ivar victim: the task that it killed instead, and went on: name and id
    """

    step: int
    during: str
    headline: str
    function: str
    frames: tuple[str, ...]
    report: str
    victim: str = ""

    @property
    def text(self) -> str:
        """Who died, and of what, in one line."""
        who = f"the kernel killed {self.victim}" if self.victim else "the host died"
        return f"{who}: {self.headline}"


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
        """The verdict, and what is known of it: ``DIVERGED: known, O1, open``."""
        if self.verdict in LABELLED:
            return f"{self.verdict.value}: {label(self.known, self.target.kernel)}"
        return self.verdict.value

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

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        first = self.divergences[0] if self.divergences else None
        return {
            "id": self.id,
            "target": self.target.kind,
            "kernel": self.target.kernel,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "known": list(self.known),
            "label": self.label,
            "expected_defects": list(self.expected_defects),
            "divergence": asdict(first) if first else None,
            "divergences": [asdict(d) for d in self.divergences],
            "findings": [asdict(f) for f in self.findings],
            "crash": asdict(self.crash) if self.crash else None,
            **({"hang": self.hang.to_json()} if self.hang else {}),
            "duration": round(self.duration, 6),
            **steps_to_json(self.steps),
        }
