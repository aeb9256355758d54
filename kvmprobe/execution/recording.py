"""Records a kernel's replies as a transcript, and judges a transcript again.

A recorded scenario ends before a guest-FPU load that is fatal by the last read-back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.execution.driver import Driver, Request, TraceLostError
from kvmprobe.execution.preflight import profile_of, unmet
from kvmprobe.execution.probing import examine
from kvmprobe.judge.lockstep import agrees_along, explanation
from kvmprobe.judge.unspecified import judged_bytes
from kvmprobe.model.behaviours import DEFECTS, variants
from kvmprobe.results.known import by_id
from kvmprobe.results.trace import End
from kvmprobe.results.transcript import Entry, Transcript
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvmprobe.execution.place import Place
    from kvmprobe.execution.preflight import Preflight
    from kvmprobe.model.behaviours import Behaviour, Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


def record(
    place: Place,
    wanted: Callable[[Scenario], bool],
    progress: Progress,
    scenarios: Callable[[HostProfile], Iterable[Scenario]] = catalog.scenarios,
) -> Transcript:
    """Run the wanted scenarios that can run at a place, and return the transcript.

    :param scenarios: returns the scenarios for a host; by default the catalogue's
    :raises Unavailable: KVM is not usable there
    :raises WorkerError: a scenario killed the worker
    """
    progress.stage(f"{place.target.description}: recording")
    with place.open() as link:
        driver = Driver(link, place.timing)
        preflight = examine(driver)
        host = preflight.profile
        chosen = deque(_runnable(preflight, filter(wanted, scenarios(host))))
        total = len(chosen)
        entries: list[Entry] = []
        try:
            for request, trace in driver.traces([Request(s, gate=1) for s in chosen], host):
                entries.append(_entry(request.scenario, host, trace))
                progress.advance(len(entries), total)
        except TraceLostError as lost:
            lost.add_note(f"during {chosen[len(entries)].id}")
            raise
    # The model does not need the environment, and a transcript must not identify a machine.
    facts = {name: fact for name, fact in preflight.facts.items() if name != "environment"}
    return Transcript(place.target, facts, host.behaviours, tuple(entries))


def _entry(scenario: Scenario, host: HostProfile, trace: Trace) -> Entry:
    model_runs = ModelRuns(host)
    known: tuple[str, ...] = ()
    if not agrees_along(scenario, model_runs.with_defects(), trace):
        known = explanation(scenario, model_runs, trace, crashed=False)
    model_run = model_runs.with_defects(behaviours_of(known))
    return Entry(scenario, trace, known, judged_bytes(scenario, model_run, len(trace.steps)))


def _runnable(preflight: Preflight, scenarios: Iterable[Scenario]) -> Iterator[Scenario]:
    missing = unmet(preflight).keys()
    return (scenario for scenario in scenarios if not scenario.needs & missing)


def disagreements(transcript: Transcript, *flipped: Behaviour) -> Iterator[str]:
    """Yield the ids of the scenarios that the model judges differently than when recorded.

    A scenario without known defects must agree with a correct kernel.  A scenario with known
    defects must disagree with it, and agree with a kernel that has exactly these defects.  The
    model must not determine fewer bytes than it did.

    :param flipped: behaviours to add to those that the probes found, or to remove from them
    """
    judge = Rejudged(transcript, *flipped)
    for entry in transcript.entries:
        if not judge.is_alike(entry):
            yield entry.scenario.id


class Rejudged:
    """Judges the entries of a transcript again, each with the steps that others share."""

    def __init__(self, transcript: Transcript, *flipped: Behaviour) -> None:
        host = profile_of(transcript.facts)
        expected = variants(transcript.behaviours) ^ frozenset(flipped)
        # Its runs leave out the host's defects: those to add are told at each entry.
        self._model_runs = ModelRuns(replace(host, behaviours=expected))
        self._flipped = DEFECTS.intersection(flipped)

    def prepare(self, entry: Entry) -> None:
        """Compute the model's steps in a scenario."""
        for defects in (behaviours_of(entry.known) ^ self._flipped, self._flipped):
            self._model_runs.with_defects(defects).walked(entry.scenario)

    def is_alike(self, entry: Entry) -> bool:
        """Return True if the model judges a scenario as it did when it was recorded."""
        scenario, trace = entry.scenario, entry.trace
        if trace.end not in {End.DONE, End.GATED} or trace.taint:
            return False
        model_run = self._model_runs.with_defects(behaviours_of(entry.known) ^ self._flipped)
        if judged_bytes(scenario, model_run, len(trace.steps)) < entry.judged:
            return False
        correct = self._model_runs.with_defects(self._flipped)
        if entry.known and agrees_along(scenario, correct, trace):
            return False
        return agrees_along(scenario, model_run, trace)


def behaviours_of(known: tuple[str, ...]) -> Behaviours:
    """Return the behaviours of known defects."""
    return frozenset(by_id(defect).behaviour for defect in known)
