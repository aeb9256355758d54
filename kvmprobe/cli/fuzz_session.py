"""One search from its first sequence to the directories of its finds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from kvmprobe.cli.finds import Find, text_of, unwritten, write
from kvmprobe.cli.places import crash_policy
from kvmprobe.cli.scenario import keep_one
from kvmprobe.errors import RunDirectoryError
from kvmprobe.execution.against import DIFFER
from kvmprobe.execution.fuzzing import Failing, Fuzzing
from kvmprobe.execution.place import Risk
from kvmprobe.execution.reducing import Reducing
from kvmprobe.execution.trials import Trials
from kvmprobe.execution.witness import OneKernel, TwoKernels, Witness
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.progress import Silent
from kvmprobe.repro.other_hosts import Profile
from kvmprobe.results.growth import Growing, Strategy
from kvmprobe.results.known import by_id
from kvmprobe.results.verdict import counted
from kvmprobe.scenarios.relations.reads import BLIND
from kvmprobe.search.causes import can_be_caused_by, writes_of
from kvmprobe.search.guidance import Guidance
from kvmprobe.search.sequences import Sequences
from kvmprobe.search.shrink import Budget
from kvmprobe.search.signature import Explained
from kvmprobe.search.values import CatalogueValues, ModelValues

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from kvmprobe.cli.attempt import Attempt
    from kvmprobe.execution.place import Place
    from kvmprobe.execution.reducing import Reduced
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.relations.derivation import Derivation
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.signature import Signature

# Further sequences that are reduced for each signature.
_OTHERS = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to search, and to reduce each find, in seconds."""

    search: float
    reduce: float


class Session:
    """A search that writes its finds.

    :ivar finds: so far, by signature
    :ivar notes: notes for the reader of the run
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        attempt: Attempt,
        limits: Limits,
        show: Callable[[Sequence[str]], None],
        status: Progress,
    ) -> None:
        """Prepare it.

        :param show: prints lines
        """
        self.finds: list[Find] = []
        self.notes: list[str] = []
        self._arguments = arguments
        self._attempt = attempt
        self._limits = limits
        self._show = show
        self._status = status
        self._explained = (
            Explained.BY_NOTHING if arguments.from_scratch else Explained.BY_KNOWN_DEFECTS
        )
        self._fuzzing: Fuzzing | None = None
        self._guidance: Guidance | None = None
        self._other: Trials | None = None

    @property
    def sequences(self) -> int:
        """How many sequences were judged."""
        return self._fuzzing.tally.sequences if self._fuzzing else 0

    @property
    def corpus(self) -> list[Scenario]:
        """The sequences that are worth keeping."""
        return [e.scenario for e in self._guidance.smallest_cover()] if self._guidance else []

    @property
    def superfluous(self) -> list[Scenario]:
        """The sequences of the corpus that are not."""
        return self._guidance.superfluous() if self._guidance else []

    def run(self, place: Place, corpus: Sequence[Scenario], against: Place | None = None) -> None:
        """Search, then reduce what was found.

        :param against: another kernel, which runs the same sequences
        :raises Unavailable: nothing can run at the place
        :raises KeyboardInterrupt: interrupted; the finds so far are written
        """
        policy = crash_policy(self._arguments, place)
        self._other = self._trials(against) if against else None
        ledger, explained = self._attempt.ledger, self._explained
        fuzzing = Fuzzing(place, policy, explained, ledger, self._status, self._other)
        self._fuzzing = fuzzing
        host = fuzzing.host
        seed = self._arguments.seed
        random = Random(seed)  # noqa: S311 - not a secret
        scratch = self._arguments.from_scratch
        values = (ModelValues if scratch else CatalogueValues)(host, random)
        strategy = Strategy.UNGUIDED if self._arguments.unguided else Strategy.GUIDED
        sequences = Sequences(host, random, values, fuzzing.missing)
        guidance = Guidance(random, sequences, strategy)
        self._guidance = guidance
        guidance.start_with(corpus)
        growing = Growing(partial(ledger.grew, strategy))
        self._show([f"{place.target.description}: seed {seed}, {strategy.value}"])
        began = time.monotonic()

        def spent() -> bool:
            return time.monotonic() - began >= self._limits.search

        found: list[Failing] = []
        ended: BaseException | None = None
        try:
            for failing in fuzzing.run(guidance, f"fuzz.{seed}", spent, growing.take):
                found.append(failing)
                self._show([f"{failing.after:7.1f} s  {failing.record.id}  {failing.signature}"])
        except BaseException as error:
            ended = error
        try:
            growing.end()
        except RunDirectoryError as error:
            ended = ended or error
        self.notes += fuzzing.blind_spots
        for failing in sorted(found, key=lambda each: each.signature.kind != "crash"):
            ended = self._take(place, failing, ended)
            ended = self._take_others(place, failing.signature, ended)
        if ended is not None:
            raise ended

    def _take(
        self, place: Place, failing: Failing, ended: BaseException | None
    ) -> BaseException | None:
        """Reduce what was found, unless the search ended early, and write it.

        Returns what ended it, also if that is an interruption now.
        """
        reduced: Reduced | None = None
        if ended is None:
            self._status.stage(f"reducing {failing.scenario.id}: {failing.signature}")
            reducing = self._reducing(place, failing)
            try:
                reduced = reducing.run()
            except KeyboardInterrupt as interrupt:
                reduced, ended = reducing.so_far(), interrupt
        try:
            self._keep(place, failing, reduced)
        except RunDirectoryError as error:
            return ended or error
        return ended

    def _take_others(
        self, place: Place, signature: Signature, ended: BaseException | None
    ) -> BaseException | None:
        """Reduce further sequences with the signature whose cause can not be the same."""
        others = self._fuzzing.others[signature] if self._fuzzing else []
        reduced = 0
        # The shortest ones are reduced soonest.
        for failing in sorted(others, key=lambda each: len(writes_of(each.scenario))):
            known = [
                writes_of(find.smallest)
                for find in self.finds
                if find.signature == signature and find.reduced and find.reduced.reproduces
            ]
            if ended is not None or not known or reduced == _OTHERS:
                break
            if not can_be_caused_by(failing.scenario, known):
                ended = self._take(place, failing, ended)
                reduced += 1
        return ended

    def _reducing(self, place: Place, failing: Failing) -> Reducing:
        blind = failing.record.id != failing.scenario.id
        trials = self._trials(place, *((BLIND,) if blind else ()))
        budget = Budget(seconds=self._limits.reduce)
        witness: Witness = OneKernel(trials, self._explained)
        if failing.signature.kind == DIFFER and self._other:
            witness = TwoKernels(trials, self._other)
        return Reducing(failing.scenario, failing.signature, witness, budget, self._status)

    def _trials(self, place: Place, *derivations: Derivation) -> Trials:
        return Trials(place, crash_policy(self._arguments, place), Silent(), derivations)

    def _keep(self, place: Place, failing: Failing, reduced: Reduced | None) -> None:
        kernels = {place.target.release: reduced is None or reduced.reproduces}
        like = self._like(reduced) if reduced and reduced.reproduces else ""
        number = sum(find.signature == failing.signature for find in self.finds)
        name = f"{failing.signature.name}-{number + 1}" if number else failing.signature.name
        find = Find(
            name,
            failing.signature,
            failing.scenario,
            failing.record,
            reduced,
            failing.after,
            kernels,
            like,
        )
        self.finds.append(find)
        real = place.risk is Risk.REAL
        host = self._fuzzing.host if real and self._fuzzing else sapphire_rapids()
        profile = Profile.EXAMINED if real else Profile.ASSUMED
        lines = [f"like {like}"] if like else text_of(find)
        try:
            self._record(failing.scenario, failing.record, failing.trace)
            if reduced:
                self._record(reduced.scenario, reduced.record, reduced.trace)
            folder = write(self._attempt.path, find, host, profile)
        except RunDirectoryError:
            self._show(["", *lines, *unwritten(find.smallest)])
            raise
        self._show(["", f"{folder}", *(f"  {line}" for line in lines)])

    def _record(
        self, scenario: Scenario, record: ScenarioRecord | None, trace: Trace | None
    ) -> None:
        keep_one(self._attempt.path, scenario)
        if record is not None:
            if trace is not None:
                self._attempt.ledger.read(record.id, trace)
            self._attempt.ledger.record(record)

    def _like(self, reduced: Reduced) -> str:
        """Return the name of an earlier find whose reduced sequence makes the same changes."""
        writes = writes_of(reduced.scenario)
        for find in self.finds:
            reproduces = find.reduced is not None and find.reduced.reproduces
            if reproduces and not find.like and writes == writes_of(find.smallest):
                return find.name
        return ""

    @property
    def summary(self) -> list[str]:
        """What was done, in lines."""
        if self._fuzzing is None or self._guidance is None or not self.sequences:
            return ["no sequence was run: the time was up, or nothing can run there"]
        tally, guidance = self._fuzzing.tally, self._guidance
        blocks = f", {guidance.block_count} blocks" if guidance.block_count else ""
        lines = [
            "",
            (
                f"{tally.sequences} sequences, {tally.calls} calls in {tally.seconds:.0f} s: "
                f"{tally.rate:.1f} sequences and {tally.call_rate:.0f} calls a second; "
                f"{guidance.transition_count} transitions of the model{blocks}"
            ),
            f"  {', '.join(counted(tally.verdicts))}",
        ]
        lines += [
            f"  {count} show {by_id(name).label()}" for name, count in sorted(tally.known.items())
        ]
        lines += [
            f"  {count} differ from the other kernel by {name}"
            for name, count in tally.named.most_common()
        ]
        own = [find for find in self.finds if not find.like]
        return [*lines, f"{len(own)} finds, {len(self.finds)} kinds of failure"]
