"""After a crash of this host: decides which scenarios are blamed, and which run again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmprobe.execution.plan import Past
from kvmprobe.results.record import Crash, ScenarioRecord
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.scenario_id import row_and_column_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.results.console_text import PanicReport
    from kvmprobe.results.history import History, HostCrash

_NO_REPORT = "the host crashed; there is no report"


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What to do with the scenarios that were running at a crash.

    :ivar blamed: records of those that do not run again
    :ivar retried: ids of those that run again, each alone
    """

    blamed: list[ScenarioRecord] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)


def settle(history: History, retries: int, panic: PanicReport | None) -> Aftermath:
    """Blame each scenario whose crash was expected, or that was alone in ``retries`` + 1 crashes.

    :param panic: the host's report of the last crash, if there is one
    """
    made = Aftermath()
    for scenario_id, host_crashes in history.suspects.items():
        alone = sum(crash.alone for crash in host_crashes)
        if host_crashes[-1].foreseen or alone > retries:
            known = panic if host_crashes[-1].boot_id == history.ended_boots[-1] else None
            made.blamed.append(_blamed(scenario_id, host_crashes, history, known))
        else:
            made.retried.append(scenario_id)
    return made


def past_of(history: History, aftermath: Aftermath) -> Past:
    """Return what a runner needs to know about earlier attempts."""
    records = [*history.records.values(), *aftermath.blamed]
    return Past(
        recorded=frozenset(record.id for record in records),
        alone=frozenset(aftermath.retried),
        crashed=tuple(r for r in records if r.id in history.gated and r.crash is not None),
        lost=history.lost,
    )


def _blamed(
    scenario_id: str,
    host_crashes: Sequence[HostCrash],
    history: History,
    panic: PanicReport | None,
) -> ScenarioRecord:
    gated = history.gated.get(scenario_id) if host_crashes[-1].foreseen else None
    row, column = row_and_column_of(scenario_id)
    target = host_crashes[-1].target
    blank = ScenarioRecord(scenario_id, row, column, target, Verdict.CRASHED)
    record = gated.record if gated else blank
    times = "once" if len(host_crashes) == 1 else f"{len(host_crashes)} times"
    return replace(
        record,
        verdict=Verdict.CRASHED,
        reason=f"the host crashed {times} during this scenario; it is not run again",
        crash=Crash(
            step=len(record.steps),
            during=gated.before if gated else None,
            headline=panic.headline if panic else _NO_REPORT,
            function=panic.function if panic else "",
            frames=panic.frames if panic else (),
            report=panic.text if panic else "",
        ),
    )
