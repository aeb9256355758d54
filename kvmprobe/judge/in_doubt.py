"""Known defects behind a checker's finding among replies that the model does not judge.

After a result without a rule the model has no expectation, but an example of what a kernel may
answer.  A known defect whose example is what the kernel answered, where the example of a correct
kernel is not, explains the finding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.judge.compare import compare
from kvmprobe.judge.defect_sets import DefectSets
from kvmprobe.judge.lockstep import agrees_along, applicable, first_wrong
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import NotCovered, OneOf
from kvmprobe.model.vcpu_state import set_before_check
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ImageDiffers
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import ReadingsDiffer, Statement
from kvmprobe.scenarios.ops.vcpu_state import SetVcpuEvents
from kvmprobe.xstate.features import FPSSE
from kvmprobe.xstate.layout import X87_ENVIRONMENT, X87_REGISTERS, XMM_REGISTERS, XSTATE_BV

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.results.record import Finding
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.model_run import ModelRun, ModelRuns
    from kvmprobe.scenarios.scenario import Scenario

# SDM vol.1 §8.1.5: FCW is 0x37F after initialization; two bytes in hexadecimal.
_FCW_INIT = "7f03"


def labelled(
    finding: Finding,
    scenario: Scenario,
    model_runs: ModelRuns,
    trace: Trace,
    found: Behaviours = frozenset(),
) -> Finding:
    """Return a finding in this trace with the smallest set of known defects that explains it.

    :param found: defects that probes have found in this kernel
    """
    if finding.known:
        return finding
    known: tuple[Behaviour, ...] = ()
    if not finding.other:
        known = _predicted(finding, scenario, model_runs, trace)
    if not known and _is_uncertain(finding.step, scenario, model_runs):
        known = tuple(b for b, shows in _BY_RULE if b in found and shows(finding, scenario))
    return replace(finding, known=tuple(known_defects()[d].id for d in known))


def _predicted(
    finding: Finding, scenario: Scenario, model_runs: ModelRuns, trace: Trace
) -> tuple[Behaviour, ...]:
    """Return the defects whose example is the reply where that of a correct kernel is not."""
    correct = dict(_examples(finding.step, scenario, model_runs.with_defects(), trace))
    wrong = {place for place, agrees in correct.items() if not agrees}
    if not wrong:
        return ()
    sets = DefectSets(applicable(scenario, model_runs))
    for chosen in sets:
        model_run = model_runs.with_defects(chosen)
        found = dict(_examples(finding.step, scenario, model_run, trace))
        here = all(agrees for (step, _), agrees in found.items() if step == finding.step)
        explains = here and any(found.get(place) for place in wrong)
        if explains and agrees_along(scenario, model_run, trace):
            return tuple(sorted(chosen, key=lambda defect: defect.name))
        contradicted = first_wrong(scenario, model_run, trace)
        if contradicted is not None:
            sets.rule_out(chosen, model_run.walked(scenario)[: contradicted + 1])
    return ()


def _is_stale_fpu(finding: Finding, _: Scenario) -> bool:
    """Return True if KVM_GET_FPU shows other x87 and SSE state than INIT, which the image has.

    Then what came before decides, of which the model knows too little to give an example, or two
    answers are legal, and KVM_GET_XSAVE2 has given the one with INIT.
    """
    fields = [d.values for d in finding.details if isinstance(d, Statement)]
    if finding.statement.claim is not Claim.FPU_AND_XSAVE:
        return False
    return all(f["xsave"] == _FCW_INIT or not str(f["xsave"]).strip("0") for f in fields)


def _is_lost_set_fpu(finding: Finding, scenario: Scenario) -> bool:
    """Return True if two runs differ only in whether KVM_SET_FPU showed.

    It shows if XSTATE_BV has the bit of FP or SSE by then.  After a run of the guest that is the
    processor's choice (SDM vol.1 §13.6), another one in each run.
    """
    before = (op.interface for number, op in scenario.ops() if number <= finding.step)
    if not finding.other or ioctls.SET_FPU.name not in before:
        return False
    return all(
        isinstance(detail, ReadingsDiffer)
        and isinstance(detail.difference, ImageDiffers)
        and _is_of_set_fpu(detail.difference)
        for detail in finding.details
    )


def _is_of_set_fpu(seen: ImageDiffers) -> bool:
    bits = seen.expected_xstate_bv ^ seen.observed_xstate_bv
    places = (X87_ENVIRONMENT, X87_REGISTERS, XMM_REGISTERS, XSTATE_BV)
    within = all(any(run.offset in place for place in places) for run in seen.runs)
    return not bits & ~FPSSE and within


def _is_set_before_check(finding: Finding, scenario: Scenario) -> bool:
    """Return True if KVM_GET_VCPU_EVENTS shows what the last KVM_SET_VCPU_EVENTS was refused."""
    if finding.statement.values.get("call") != ioctls.GET_VCPU_EVENTS.name:
        return False
    ops = [op for number, op in scenario.ops() if number <= finding.step]
    given = [op.changes() for op in ops if isinstance(op, SetVcpuEvents)]
    shown = set_before_check(given[-1]) if given else {}
    read = [detail.values for detail in finding.details if isinstance(detail, Statement)]
    return bool(read) and all(shown.get(str(m["member"])) == m["read"] for m in read)


_BY_RULE = (
    (Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV, _is_stale_fpu),
    (Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV, _is_lost_set_fpu),
    (Behaviour.EVENTS_SET_BEFORE_CHECK, _is_set_before_check),
)


def _is_uncertain(number: int, scenario: Scenario, model_runs: ModelRuns) -> bool:
    walk = model_runs.with_defects().walked(scenario)
    outcomes = (
        known.step.outcome
        for (nr, _), known in zip(scenario.ops(), walk, strict=False)
        if nr == number
    )
    return any(isinstance(outcome, NotCovered | OneOf) for outcome in outcomes)


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
