"""Known defects behind a checker's finding among replies that the model does not judge.

After a result without a rule the model has no expectation, but an example of what a kernel may
answer.  A known defect whose example is what the kernel answered, where the example of a correct
kernel is not, explains the finding.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from kvmprobe.judge.compare import compare
from kvmprobe.judge.lockstep import agrees_along, applicable
from kvmprobe.model.outcome import NotCovered
from kvmprobe.results.known import known_defects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.results.record import Finding
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.model_run import ModelRun, ModelRuns
    from kvmprobe.scenarios.scenario import Scenario


def labelled(finding: Finding, scenario: Scenario, model_runs: ModelRuns, trace: Trace) -> Finding:
    """Return a finding in this trace with the smallest set of known defects that explains it."""
    if finding.known or finding.other:
        return finding
    correct = dict(_examples(finding.step, scenario, model_runs.with_defects(), trace))
    wrong = {place for place, agrees in correct.items() if not agrees}
    if not wrong:
        return finding
    candidates = sorted(applicable(scenario, model_runs), key=lambda defect: defect.name)
    for count in range(1, len(candidates) + 1):
        for chosen in combinations(candidates, count):
            model_run = model_runs.with_defects(frozenset(chosen))
            found = dict(_examples(finding.step, scenario, model_run, trace))
            here = all(agrees for (step, _), agrees in found.items() if step == finding.step)
            explains = here and any(found.get(place) for place in wrong)
            if explains and agrees_along(scenario, model_run, trace):
                return replace(finding, known=tuple(known_defects()[d].id for d in chosen))
    return finding


def _examples(
    last: int, scenario: Scenario, model_run: ModelRun, trace: Trace
) -> Iterator[tuple[tuple[int, int], bool]]:
    """Yield each call that is not judged, up to a step, and whether its example is the reply.

    A call is the numbers of its step and of its place in it.
    """
    walk = iter(model_run.walked(scenario))
    steps = zip(scenario.steps[: last + 1], trace.steps, strict=False)
    for number, (step, seen) in enumerate(steps):
        calls = zip(step.ops, seen.replies, strict=True)
        for place, ((op, reply), known) in enumerate(zip(calls, walk, strict=False)):
            outcome = known.step.outcome
            if isinstance(outcome, NotCovered):
                yield (
                    (number, place),
                    compare(outcome.example, op, reply, model_run.host) is None,
                )
