"""The model alongside a trace: what diverges, and which known defects explain it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from kvmprobe.judge.compare import compare
from kvmprobe.judge.expectation import expected_fields
from kvmprobe.judge.log_signatures import violations
from kvmprobe.model.behaviours import DEFECTS, variants
from kvmprobe.model.machine import Machine
from kvmprobe.results.citation import rule_text
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import CallRecord, Divergence, StepRecord
from kvmprobe.scenarios.hazard import fatal_step
from kvmprobe.scenarios.model_run import ModelRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.rule import Rule
    from kvmprobe.results.trace import Reply, Trace
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_LOG_RULE = "a scenario logs no kernel warning (INV-43)"


def divergences(scenario: Scenario, host: HostProfile, trace: Trace) -> tuple[Divergence, ...]:
    """Compare every completed step with a correct kernel of this host's variants."""
    correct = replace(host, behaviours=variants(host.behaviours))
    return tuple(_walk(scenario, ModelRun(correct), trace))


def explanation(
    scenario: Scenario,
    host: HostProfile,
    trace: Trace,
    crashed: bool,  # noqa: FBT001 - a fact about the trace, not a switch
) -> tuple[str, ...]:
    """Return the identifiers of the fewest known defects that predict all that was observed.

    :param crashed: the host died in the step after the last of the trace
    """
    candidates = sorted(DEFECTS & known_defects().keys(), key=lambda d: d.name)
    for count in range(1, len(candidates) + 1):
        for chosen in combinations(candidates, count):
            if _predicts(scenario, host, trace, frozenset(chosen), crashed):
                return tuple(known_defects()[defect].id for defect in chosen)
    return ()


def predicts(scenario: Scenario, host: HostProfile, trace: Trace) -> bool:
    """Tell whether a kernel with just the host's behaviours, defects too, would answer so."""
    return len(trace.steps) == len(scenario.steps) and agrees(scenario, host, trace)


def agrees(scenario: Scenario, host: HostProfile, trace: Trace) -> bool:
    """Tell whether such a kernel would answer so, as far as the trace goes."""
    return agrees_along(scenario, ModelRun(host), trace)


def agrees_along(scenario: Scenario, model_run: ModelRun, trace: Trace) -> bool:
    """As :func:`agrees`, along a model run that other scenarios share."""
    return not any(_walk(scenario, model_run, trace))


def step_records(scenario: Scenario, host: HostProfile, trace: Trace) -> tuple[StepRecord, ...]:
    """Decode the trace for the record, with what a correct kernel shows beside it."""
    machine = Machine.fresh(replace(host, behaviours=variants(host.behaviours)))
    records = []
    for step, seen in zip(scenario.steps, trace.steps, strict=False):
        calls = []
        for op, reply in zip(step.ops, seen.replies, strict=False):
            transition = op.step(machine)
            machine = transition.machine
            observed = _fields(op, reply, host)
            expected, undetermined = expected_fields(transition.outcome, observed)
            other = {name: v for name, v in expected.items() if observed.get(name) != v}
            calls.append(CallRecord(op.text, reply.result, observed, other, undetermined))
        records.append(StepRecord(tuple(calls), seen.kernel_log))
    return tuple(records)


def _fields(op: Op, reply: Reply, host: HostProfile) -> Mapping[str, int]:
    """Read the output of a call that succeeded; another one's holds nothing."""
    return op.read(reply.output, host) if reply.output and reply.result >= 0 else {}


def _walk(scenario: Scenario, model_run: ModelRun, trace: Trace) -> Iterator[Divergence]:
    host, machine = model_run.host, model_run.start
    for number, (step, seen) in enumerate(zip(scenario.steps, trace.steps, strict=False)):
        rule: Rule | None = None
        for op, reply in zip(step.ops, seen.replies, strict=True):
            transition = model_run.step(machine, op)
            rule = rule or transition.rule
            mismatch = compare(transition.outcome, op, reply, host)
            if mismatch:
                yield Divergence(
                    step=number,
                    after=step.op.text,
                    call=op.text,
                    expected=mismatch.expected,
                    observed=mismatch.observed,
                    rule=_rules(rule, transition.rule),
                    details=mismatch.details,
                    image=mismatch.image,
                )
            machine = transition.machine
        for line in violations(seen.kernel_log):
            yield Divergence(number, step.op.text, "kernel log", "no warning", line, _LOG_RULE)


def _rules(broken: Rule, read_by: Rule) -> str:
    """Return the rule of the step, and that of the call that showed it if it is another op's."""
    text = rule_text(broken)
    return text if broken is read_by else f"{text}; read by {rule_text(read_by)}"


def _predicts(
    scenario: Scenario,
    host: HostProfile,
    trace: Trace,
    defects: Behaviours,
    crashed: bool,  # noqa: FBT001
) -> bool:
    defective = replace(host, behaviours=variants(host.behaviours) | defects)
    if not agrees(scenario, defective, trace):
        return False
    return not crashed or _dies_at(scenario, ModelRun(defective), len(trace.steps))


def _dies_at(scenario: Scenario, model_run: ModelRun, step_number: int) -> bool:
    found = fatal_step(scenario, model_run)
    return found is not None and found[0] == step_number
