"""Each finding of a replay as a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import msr_name
from kvmprobe.model.behaviours import Behaviour, Kind
from kvmprobe.reports.differences import shown
from kvmprobe.reports.values import result_text, value_text
from kvmprobe.reports.vmm_sentences import call_at, sentence
from kvmprobe.results.difference import ImageDiffers, ValuesDiffer
from kvmprobe.results.known import by_id, known_defects
from kvmprobe.vmm.replay_findings import (
    Cause,
    FailsHere,
    GivesOtherwise,
    HostDied,
    KernelReports,
    NotAsModelled,
    Reason,
    ReplayEnded,
    ReturnsOtherwise,
    StoppedBefore,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.results.difference import Difference

__all__ = ["sentence"]

_MOST_SHOWN = 8
_WHY = {
    Cause.HOST: "this host's processor, or its KVM, offers other features",
    Cause.EARLIER: "a call before it answered otherwise",
    Cause.EITHER: "the model allows both",
    Cause.NOT_MODELLED: "the model has no rule for it",
    Cause.UNEXPECTED: "the model expects it of neither host",
}


def _because(reason: Reason) -> str:
    if reason.cause is not Cause.KERNEL:
        return _WHY[reason.cause]
    return f"the kernels differ: {', '.join(map(_behaviour, reason.behaviours))}"


def _behaviour(name: str) -> str:
    behaviour = Behaviour[name]
    if behaviour.kind is Kind.DEFECT and behaviour in known_defects():
        return f"known defect {known_defects()[behaviour].label()}"
    return f"{name} ({behaviour.value.summary})"


def _known(defects: tuple[str, ...], kernel: str) -> str:
    labels = " and ".join(by_id(defect).label(kernel) for defect in defects)
    return f"known, {labels}" if labels else "not known"


def _results(finding: FailsHere | ReturnsOtherwise) -> str:
    recorded, observed = map(result_text, (finding.recorded, finding.observed))
    ended = "" if finding.msr is None else f" (it ends at {msr_name(finding.msr)})"
    return f"{call_at(finding.at)} returns {observed}{ended}, in the recording {recorded}"


def _changes(difference: Difference) -> str:
    """Return what differs: recorded -> observed."""
    match difference:
        case ValuesDiffer(expected, observed):
            changed = [
                f"{name} {_value(name, expected)} -> {_value(name, observed)}"
                for name in dict.fromkeys((*expected, *observed))
            ]
        case ImageDiffers():
            changed = [f"{run.where} differs" for run in difference.runs]
        case _:
            text = shown(difference)
            changed = [f"{text.expected} -> {text.observed}"]
    more = len(changed) - _MOST_SHOWN
    return ", ".join(changed[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _value(name: str, values: Mapping[str, int]) -> str:
    return value_text(name, values[name]) if name in values else "none"


@sentence.register(FailsHere)
@sentence.register(ReturnsOtherwise)
def _(finding: FailsHere | ReturnsOtherwise, _kernel: str) -> str:
    return f"{_results(finding)}: {_because(finding.reason)}"


@sentence.register
def _(finding: GivesOtherwise, _kernel: str) -> str:
    changes = _changes(finding.difference)
    return f"{call_at(finding.at)} reads otherwise: {changes}: {_because(finding.reason)}"


@sentence.register
def _(finding: NotAsModelled, kernel: str) -> str:
    text = shown(finding.difference)
    answer = f"{call_at(finding.at)}: {text.observed}, where the model expects {text.expected}"
    return f"{answer}; {_known(finding.defects, kernel)}"


@sentence.register
def _(finding: HostDied, kernel: str) -> str:
    report = f": {finding.report}" if finding.report else ""
    known = _known(finding.defects, kernel)
    return f"the host died in {call_at(finding.at)}{report}; {known}"


@sentence.register
def _(finding: KernelReports, _kernel: str) -> str:
    return f"the kernel logged during {call_at(finding.at)}: {finding.message}"


@sentence.register
def _(finding: ReplayEnded, _kernel: str) -> str:
    return f"the replay ended in {call_at(finding.at)}: {finding.why}"


@sentence.register
def _(finding: StoppedBefore, kernel: str) -> str:
    why = _known(finding.defects, kernel) if finding.defects else "by the state that was read back"
    return (
        f"the replay stopped before {call_at(finding.at)}, which can panic this host ({why}); "
        "--hazardous makes it"
    )
