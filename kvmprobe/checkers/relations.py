"""Compares a derived scenario with its base: the steps that both have must come out the same.

What may differ is the same as between two orders: bits that a load and a save of the guest's FPU
state may change, and KVM_GET_FPU after a load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.checkers.event import written_image
from kvmprobe.checkers.normal import normal_image
from kvmprobe.checkers.normal_msrs import MOVING
from kvmprobe.checkers.observed import ALL_IMAGES, read_may_load_fpu, write_may_load_fpu
from kvmprobe.checkers.registers import MSR_READS, msr_of, registers_read
from kvmprobe.checkers.stability import images_differ, values_differ
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.record import Finding, ReadingsDiffer, Statement
from kvmprobe.scenarios.calls import Ioctl
from kvmprobe.scenarios.derived import Aspect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.checkers.event import Event, Lowered
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.derived import Derived
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

    Detail = Statement | ReadingsDiffer


class _Meaning(NamedTuple):
    """What it means that a derived scenario differs: checker, invariant and claim."""

    checker: str
    invariant: str
    claim: Claim


_MEANINGS: Mapping[Aspect, _Meaning] = {
    Aspect.READS: _Meaning("observation", "INV-44", Claim.READS_MATTER),
    Aspect.REPEATS: _Meaning("repetition", "INV-45", Claim.REPEATS_MATTER),
    Aspect.PLACE: _Meaning("move", "INV-46", Claim.PLACE_MATTERS),
    Aspect.REGISTERS: _Meaning("host-registers", "INV-47", Claim.HOST_REGISTERS_MATTER),
    Aspect.COMPETITION: _Meaning("competition", "INV-48", Claim.COMPETITION_MATTERS),
    Aspect.CPU: _Meaning("cpu", "INV-49", Claim.CPU_MATTERS),
}


class _Seen(NamedTuple):
    """One reply: 0 for a new descriptor; ``loaded`` if the guest's FPU may have been loaded.

    ``kept`` has the registers that a read of MSRs returned, without those that move by themselves.
    """

    op: Op
    name: str
    result: int
    output: bytes
    loaded: bool
    kept: tuple[tuple[int, int], ...]


class _Run(NamedTuple):
    """The replies of each step of a scenario, those of its op first."""

    scenario_id: str
    steps: tuple[tuple[_Seen, ...], ...]
    known: tuple[str, ...]


class Relations:
    """The scenarios of one kernel so far, and what was derived from them."""

    def __init__(self, host: HostProfile, lowered: Lowered) -> None:
        self._host = host
        self._lowered = lowered
        self._bases: dict[str, _Run] = {}
        self._waiting: dict[str, list[tuple[Derived, _Run]]] = {}
        self._known: dict[_Seen, _Seen] = {}
        self._found: dict[str, tuple[Finding, ...]] = {}

    def compare(
        self, scenario: Scenario, trace: Trace, known: tuple[str, ...]
    ) -> tuple[Finding, ...]:
        """Compare a derived scenario with its base; whichever is the later one has the findings.

        :param known: the defects that explain the divergences of this scenario
        """
        earlier = self._found.get(scenario.id)
        if earlier is None:
            run = self._run(scenario, trace, known)
            earlier = self._found[scenario.id] = tuple(self._findings(scenario, run))
        return earlier

    def _findings(self, scenario: Scenario, run: _Run) -> Iterator[Finding]:
        derived = scenario.derived
        if derived is None:
            self._bases[scenario.id] = run
            for of, other in self._waiting.pop(scenario.id, ()):
                yield from self._compared(of, run, other, run)
        elif (base := self._bases.get(derived.base)) is not None:
            yield from self._compared(derived, base, run, run)
        else:
            self._waiting.setdefault(derived.base, []).append((derived, run))

    def _run(self, scenario: Scenario, trace: Trace, known: tuple[str, ...]) -> _Run:
        steps: list[list[_Seen]] = [[] for _ in trace.steps]
        loaded = False
        for event in self._lowered.events(scenario, trace):
            loaded = loaded or _loads(event)
            binds = (isinstance(event.call, Ioctl) and event.call.binds) or event.name == "OpenKvm"
            result = 0 if binds and event.result > 0 else event.result
            seen = _Seen(event.op, event.name, result, event.output, loaded, _kept(event))
            steps[event.step].append(self._known.setdefault(seen, seen))
        return _Run(scenario.id, tuple(map(tuple, steps)), known)

    def _compared(self, of: Derived, base: _Run, derived: _Run, own: _Run) -> Iterator[Finding]:
        """Yield the first difference, for the record of ``own``, one of the two."""
        for number, place in enumerate(of.places):
            if number >= len(base.steps) or place >= len(derived.steps):
                return
            here, there = base.steps[number], derived.steps[place]
            step, other = number, derived
            if own is derived:
                here, there, step, other = there, here, place, base
            pairs = _in_both(here, there)
            details = tuple(d for pair in pairs for d in self._differences(*pair, of.aspect))
            if details:
                checker, invariant, claim = _MEANINGS[of.aspect]
                statement = Statement(claim, {}, (here[0].op,))
                known = tuple(dict.fromkeys((*base.known, *derived.known)))
                yield Finding(
                    checker, invariant, step, statement, details, other.scenario_id, known
                )
                return

    def _differences(self, mine: _Seen, theirs: _Seen, aspect: Aspect) -> Iterator[Detail]:
        op = mine.op
        # A restored image has no more than a saved one, as if it had been loaded.
        loaded = mine.loaded or theirs.loaded or aspect is Aspect.PLACE
        if mine.result != theirs.result:
            yield ReadingsDiffer(op, ResultDiffers(mine.result, theirs.result))
        elif mine.output == theirs.output or _reads_the_same(mine, theirs):
            return
        elif mine.name in ALL_IMAGES:
            first, second = (written_image(seen.output, self._host) for seen in (mine, theirs))
            if loaded and len(first) == len(second):
                first, second = normal_image(first, second, self._host)
            yield from images_differ(op, first, second, self._host)
        elif not (loaded and mine.name == "KVM_GET_FPU"):
            yield from values_differ(op, mine.output, theirs.output)


def _loads(event: Event) -> bool:
    return event.loads or read_may_load_fpu(event) or write_may_load_fpu(event)


def _reads_the_same(mine: _Seen, theirs: _Seen) -> bool:
    return mine.name in MSR_READS and mine.kept == theirs.kept


def _kept(event: Event) -> tuple[tuple[int, int], ...]:
    if event.name not in MSR_READS:
        return ()
    return tuple((r, v) for r, v in registers_read(event).items() if msr_of(r) not in MOVING)


def _in_both(here: tuple[_Seen, ...], there: tuple[_Seen, ...]) -> Iterator[tuple[_Seen, _Seen]]:
    """Yield the replies to the op, then to each read that both have."""
    yield here[0], there[0]
    reads = {seen.op: seen for seen in there[1:]}
    for seen in here[1:]:
        if seen.op in reads:
            yield seen, reads[seen.op]
