"""Compares what two kernels do in one sequence: what no name explains is a difference to look at.

Each kernel is judged against the model of its own host.  Where both do what is predicted, the
difference is that of the predictions, and has a name: a behaviour that one of the hosts has, a
known defect, or a fact about the host.  Where the model predicts nothing, no name explains it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi.numbers import VMX_MSRS, msr_name
from kvmprobe.checkers.event import written_image
from kvmprobe.checkers.normal import normal_image
from kvmprobe.checkers.normal_msrs import moving_fields
from kvmprobe.errors import errno_name
from kvmprobe.judge.compare import compare
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.one_reg import msr_of
from kvmprobe.model.outcome import NotCovered
from kvmprobe.results.difference import image_differs
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.one_reg import GetOneReg, SetOneReg
from kvmprobe.scenarios.ops.xsave import GetXsave, GetXsave2
from kvmprobe.search.signature import Explained, Signature, signatures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Outcome
    from kvmprobe.results.record import CallRecord, ScenarioRecord
    from kvmprobe.results.trace import Reply, Trace
    from kvmprobe.scenarios.model_run import Known, ModelRuns
    from kvmprobe.scenarios.scenario import Scenario

FACTS, FREEDOM = "facts of the hosts", "freedom that a rule leaves"
# Documentation/virt/kvm/api.rst promises nothing for an MSR that KVM_GET_MSR_INDEX_LIST lacks.
LISTED = "MSRs that one of the hosts lists"
# arch/x86/kvm/vmx/nested.c: nested_vmx_setup_ctls_msrs; the model does not follow what it allows.
NESTED = "what KVM lets nested guests have"
DIFFER = "kernels-differ"


class Side(NamedTuple):
    """What one kernel did, and the model of its host.

    :ivar trace: None if it did nothing
    """

    record: ScenarioRecord
    trace: Trace | None
    runs: ModelRuns

    def calls(self) -> Iterator[_Answered]:
        """Yield each call with its answer."""
        steps = self.trace.steps if self.trace else ()
        for step, seen in zip(self.record.steps, steps, strict=False):
            yield from map(_Answered, step.calls, seen.replies)


class _Answered(NamedTuple):
    """A call, and the bytes that it returned."""

    call: CallRecord
    reply: Reply

    @property
    def image(self) -> bytes:
        """The XSAVE image that it returned; empty if it returned none."""
        returns = isinstance(self.call.op, GetXsave | GetXsave2) and self.call.result >= 0
        return self.reply.output or b"" if returns else b""


class Named(NamedTuple):
    """A difference that names explain."""

    names: tuple[str, ...]


def first_difference(scenario: Scenario, here: Side, there: Side) -> Signature | Named | None:
    """Return the first difference between two kernels: unexplained, or with its names.

    None if there is none, or a kernel fails in a way that is judged by itself.
    """
    own, others = (signatures_of(s.record, Explained.BY_KNOWN_DEFECTS) for s in (here, there))
    if own:
        return None
    if others:
        # Of the other kernel nothing else is reported.
        return Signature(DIFFER, f"only the other one fails: {others[0].what}", others[0].where)
    walks = [side.runs.with_defects().walked(scenario) for side in (here, there)]
    known = tuple(dict.fromkeys((*here.record.known, *there.record.known)))
    host = here.runs.with_defects().host
    for number, (mine, theirs) in enumerate(zip(here.calls(), there.calls(), strict=False)):
        if _same(mine.call, theirs.call) and not _images_differ(mine.image, theirs.image, host):
            continue
        if known:
            return Named(known)
        return _named(mine, theirs, [walk[: number + 1] for walk in walks], (here, there))
    return None


def _images_differ(mine: bytes, theirs: bytes, host: HostProfile) -> tuple[str, ...]:
    """Return where two images differ, without what a processor decides when it loads and saves."""
    if mine == theirs:
        return ()
    images = written_image(mine, host), written_image(theirs, host)
    if len({*map(len, images)}) > 1:
        return ("size of the image",)
    differs = image_differs(*normal_image(*images, host), host.layout)
    return tuple(dict.fromkeys(run.where for run in differs.runs))


def _named(
    mine: _Answered,
    theirs: _Answered,
    walks: Sequence[Sequence[Known]],
    sides: tuple[Side, Side],
) -> Signature | Named:
    behaviours = [side.runs.with_defects().host.behaviours for side in sides]
    differing = behaviours[0] ^ behaviours[1]
    outcomes = [walk[-1].step.outcome for walk in walks]
    covered = not any(isinstance(outcome, NotCovered) for outcome in outcomes)
    covered = covered or _as_the_hosts_differ(outcomes, (mine, theirs), sides)
    # Where the model has no rule for the answer, only what this call asked for explains it.
    steps = [known for walk in walks for known in (walk if covered else walk[-1:])]
    asked = frozenset().union(*(known.asked for known in steps))
    if names := sorted(b.name for b in asked & differing):
        return Named(tuple(names))
    if covered:
        return Named((FACTS if outcomes[0] != outcomes[1] else FREEDOM,))
    defects = sides[0].runs.host.behaviours ^ sides[1].runs.host.behaviours
    if names := sorted(known_defects()[b].id for b in asked & defects & DEFECTS):
        return Named(tuple(names))
    hosts = [side.runs.with_defects().host for side in sides]
    register = _register(mine.call, theirs.call)
    if register in hosts[0].msrs ^ hosts[1].msrs:
        return Named((LISTED,))
    if register in VMX_MSRS:
        return Named((NESTED,))
    where = [*sorted(_differing(mine.call, theirs.call))]
    where += _images_differ(mine.image, theirs.image, hosts[0])
    if mine.call.result != theirs.call.result:
        place = [msr_name(register)] if register is not None else []
        where = [*place, f"{_result(mine.call)} here, {_result(theirs.call)} there"]
    return Signature(DIFFER, "no rule for either", (mine.call.op.interface, *where[:2]))


def _as_the_hosts_differ(
    outcomes: Sequence[Outcome], answers: Sequence[_Answered], sides: Sequence[Side]
) -> bool:
    """Return True if what the model knows of the hosts explains two answers.

    It is certain of one answer, which is right, and has no rule on the other host; or it has no
    rule on either, and both answers are as in its examples, which differ.
    """
    certain = [not isinstance(outcome, NotCovered) for outcome in outcomes]
    examples = [each.example if isinstance(each, NotCovered) else each for each in outcomes]
    right = [
        compare(example, answer.call.op, answer.reply, side.runs.with_defects().host) is None
        for example, answer, side in zip(examples, answers, sides, strict=True)
    ]
    if any(certain):
        return right[certain.index(True)]
    return examples[0] != examples[1] and all(right)


def _register(mine: CallRecord, theirs: CallRecord) -> int | None:
    """Return the first MSR that the two kernels treat differently.

    :see: arch/x86/kvm/x86.c: __msr_io, which returns how many were processed
    """
    match mine.op:
        case GetMsrs(indices=indices):
            accessed = indices
        case SetMsrs(entries=entries):
            accessed = tuple(index for index, _ in entries)
        case GetOneReg(register_id=register_id) | SetOneReg(register_id=register_id):
            return msr_of(register_id)
        case _:
            return None
    if mine.result != theirs.result:
        processed = min(mine.result, theirs.result)
        return accessed[processed] if 0 <= processed < len(accessed) else None
    differing = _differing(mine, theirs)
    return next((index for index in accessed if msr_name(index) in differing), None)


def _result(call: CallRecord) -> str:
    return errno_name(-call.result) if call.result < 0 else str(min(call.result, 1))


def _same(mine: CallRecord, theirs: CallRecord) -> bool:
    binds = mine.op.binds or not mine.op.on_kinds
    if binds and min(mine.result, theirs.result) >= 0:
        return True
    return mine.result == theirs.result and not _differing(mine, theirs)


def _differing(mine: CallRecord, theirs: CallRecord) -> set[str]:
    """Return the names of values that differ, without those that move and bits that may differ."""
    both = mine.fields.keys() & theirs.fields.keys() - moving_fields(mine)
    return {
        name
        for name in both
        if (mine.fields[name] ^ theirs.fields[name])
        & ~(mine.undetermined.get(name, 0) | theirs.undetermined.get(name, 0))
    }
