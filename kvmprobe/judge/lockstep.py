"""Steps the model along a trace: finds divergences, and the known defects that explain them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.abi.fields import KVM_RUN
from kvmprobe.judge.compare import compare, exit_without_answer
from kvmprobe.judge.defect_sets import DefectSets
from kvmprobe.judge.expectation import expected_fields
from kvmprobe.judge.log_signatures import violations
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.rule import DocumentSource, Rule
from kvmprobe.results.difference import KernelWarns
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import CallRecord, Divergence, StepRecord
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.hazard import fatal_step
from kvmprobe.scenarios.model_run import ModelRun, ModelRuns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.model.behaviours import Behaviour, Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Step
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.model_run import Known
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

NO_WARNING = Rule(
    "a scenario makes the kernel log no warning",
    ("INV-43",),
    (DocumentSource("Documentation/process/deprecated.rst", "BUG() and BUG_ON()"),),
)
_EXIT_REASON, _ENTRY_FAILURE = (field.name for field in KVM_RUN)


class Answer:
    """A call's reply, compared with the model's step; it belongs to no scenario.

    :ivar difference: from what is expected, or None
    """

    __slots__ = ("_record", "_reply", "difference", "expected", "op")

    def __init__(self, op: Op, reply: Reply, expected: Step, host: HostProfile) -> None:
        self.op = op
        self.expected = expected
        self.difference = compare(expected.outcome, op, reply, host)
        self._reply = reply
        self._record: CallRecord | None = None

    @property
    def record(self) -> CallRecord:
        """The call as the scenario's record shows it."""
        if self._record is None:
            self._record = _call_record(self.op, self._reply, self.expected)
        return self._record


def answers(scenario: Scenario, model_run: ModelRun, trace: Trace) -> Iterator[tuple[Answer, ...]]:
    """Yield the calls of each step that have a reply, up to the one at which the host dies."""
    walk = iter(model_run.walked(scenario))
    for step, seen in zip(scenario.steps, trace.steps, strict=False):
        calls = zip(step.ops, seen.replies, strict=True)
        answered = tuple(
            _answer(known, op, reply, model_run.host)
            for (op, reply), known in zip(calls, walk, strict=False)
        )
        yield answered
        if len(answered) < len(seen.replies):
            return


def _answer(known: Known, op: Op, reply: Reply, host: HostProfile) -> Answer:
    """Return the same answer for the same reply to a step that scenarios share."""
    found: Answer | None = known.answers.get((reply.result, reply.output))
    if found is None:
        kept = Reply(reply.result, _one_object(reply.output))
        found = known.answers[kept.result, kept.output] = Answer(op, kept, known.step, host)
    return found


@lru_cache(maxsize=1024)
def _one_object(output: bytes | None) -> bytes | None:
    """Return the first of equal outputs: many states have the same image, of up to 11 KiB."""
    return output


def examined(
    scenario: Scenario, model_runs: ModelRuns, trace: Trace
) -> tuple[tuple[Divergence, ...], tuple[StepRecord, ...]]:
    """Compare each completed step with a correct kernel of the host's variants.

    Returns the divergences, and the decoded steps for the record.
    """
    found: list[Divergence] = []
    records: list[StepRecord] = []
    answered = answers(scenario, model_runs.with_defects(), trace)
    completed = zip(scenario.steps, trace.steps, strict=False)
    for number, (step, seen) in enumerate(completed):
        calls = next(answered, ())
        found += _divergences(number, step.op, calls)
        found += (
            Divergence(number, step.op, None, KernelWarns(line), NO_WARNING)
            for line in violations(seen.kernel_log)
        )
        records.append(StepRecord(tuple(call.record for call in calls), seen.kernel_log))
    return tuple(found), tuple(records)


def _divergences(number: int, after: Op, calls: Sequence[Answer]) -> Iterator[Divergence]:
    for position, call in enumerate(calls):
        if call.difference is not None:
            rule, own = calls[0].expected.rule, call.expected.rule
            read_by = own if position and own is not rule else None
            yield Divergence(number, after, call.op, call.difference, rule, read_by)


def _call_record(op: Op, reply: Reply, expected: Step) -> CallRecord:
    ended = exit_without_answer(op, reply)
    if ended is not None:
        reason, failure = ended
        fields = {_EXIT_REASON: reason, **({_ENTRY_FAILURE: failure} if failure else {})}
        return CallRecord(op, 0, fields)
    observed = _fields(op, reply)
    shown, undetermined = expected_fields(expected.outcome, observed)
    other = {name: value for name, value in shown.items() if observed.get(name) != value}
    return CallRecord(op, reply.result, observed, other, undetermined)


def _fields(op: Op, reply: Reply) -> Mapping[str, int]:
    """Read the output of a call that succeeded; a failed call's output has no values."""
    return op.read(reply.output) if reply.output and reply.result >= 0 else {}


def explanation(
    scenario: Scenario,
    model_runs: ModelRuns,
    trace: Trace,
    *,
    crashed: bool,
) -> tuple[str, ...]:
    """Return the ids of the smallest set of known defects that predicts the whole trace.

    :param crashed: the host died in the step after the last one of the trace
    """
    sets = DefectSets(applicable(scenario, model_runs))
    for chosen in sets:
        model_run = model_runs.with_defects(chosen)
        wrong = first_wrong(scenario, model_run, trace)
        if wrong is not None:
            sets.rule_out(chosen, model_run.walked(scenario)[: wrong + 1])
            continue
        defects = [known_defects()[defect] for defect in sorted(chosen, key=lambda d: d.name)]
        if not unexpected_warnings(trace, [defect.logs for defect in defects]) and (
            not crashed or _dies_at(scenario, model_run, len(trace.steps))
        ):
            return tuple(defect.id for defect in defects)
    return ()


def applicable(scenario: Scenario, model_runs: ModelRuns) -> Behaviours:
    """Return the known defects that can change a step of the scenario.

    These are the defects that the model looks up on its way.  A defect can lead to a state in which
    the model looks up another one, so this repeats with the defects found until there are no more.
    """
    known = known_defects().keys()
    found: frozenset[Behaviour] = frozenset()
    while True:
        runs = [model_runs.with_defects(found)]
        runs += [model_runs.with_defects(frozenset({defect})) for defect in found]
        asked = {b for run in runs for step in run.walked(scenario) for b in step.asked}
        more = found | (asked & DEFECTS & known)
        if more == found:
            return found
        found = more


def predicts(scenario: Scenario, host: HostProfile, trace: Trace) -> bool:
    """Return True if the trace is complete, and a kernel with the host's behaviours gives it."""
    return len(trace.steps) == len(scenario.steps) and agrees(scenario, host, trace)


def agrees(scenario: Scenario, host: HostProfile, trace: Trace) -> bool:
    """Return True if a kernel with the host's behaviours, defects included, gives these replies."""
    return agrees_along(scenario, ModelRun(host), trace)


def agrees_along(scenario: Scenario, model_run: ModelRun, trace: Trace) -> bool:
    """Return what :func:`agrees` returns, with a model run that other scenarios share."""
    wrong = first_wrong(scenario, model_run, trace)
    return wrong is None and not unexpected_warnings(trace)


def first_wrong(scenario: Scenario, model_run: ModelRun, trace: Trace) -> int | None:
    """Return the number of the first call whose reply is not as in the model run.

    None if all replies are.  Where the model run ends before the replies do, it is its last call.
    """
    number = -1
    for calls in answers(scenario, model_run, trace):
        for call in calls:
            number += 1
            if call.difference is not None:
                return number
    replies = sum(len(step.replies) for step in trace.steps[: len(scenario.steps)])
    return None if number + 1 == replies else number


def unexpected_warnings(trace: Trace, may_log: Sequence[str] = ()) -> Sequence[str]:
    """Return the kernel's warnings.

    :param may_log: texts of warnings that are expected, if they appear
    """
    return [
        message
        for seen in trace.steps
        for message in violations(seen.kernel_log)
        if not any(text and text in message for text in may_log)
    ]


def _dies_at(scenario: Scenario, model_run: ModelRun, step_number: int) -> bool:
    found = fatal_step(scenario, model_run)
    return found is not None and found[0] == step_number
