"""After this host went down: which scenarios are blamed, and which run again."""

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

_NO_REPORT = "the host went down; what it said is not known"


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What to do with the suspects.

    :ivar blamed: records of those that are not run again
    :ivar again: those that are, each alone
    """

    blamed: list[ScenarioRecord] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


def settle(history: History, retries: int, panic: PanicReport | None) -> Aftermath:
    """Blame each suspect that took an expected risk, or was alone in ``retries`` + 1 crashes.

    :param panic: what the host said when it went down last, if that is known
    """
    made = Aftermath()
    for scenario_id, host_crashes in history.suspects.items():
        alone = sum(fall.alone for fall in host_crashes)
        if host_crashes[-1].foreseen or alone > retries:
            known = panic if host_crashes[-1].boot_id == history.ended_boots[-1] else None
            made.blamed.append(_blamed(scenario_id, host_crashes, history, known))
        else:
            made.again.append(scenario_id)
    return made


def past_of(history: History, aftermath: Aftermath) -> Past:
    """Return what a runner needs to know of earlier attempts."""
    records = [*history.records.values(), *aftermath.blamed]
    return Past(
        recorded=frozenset(record.id for record in records),
        alone=frozenset(aftermath.again),
        crashed=tuple(r for r in records if r.id in history.held and r.crash is not None),
    )


def _blamed(
    scenario_id: str,
    host_crashes: Sequence[HostCrash],
    history: History,
    panic: PanicReport | None,
) -> ScenarioRecord:
    held = history.held.get(scenario_id) if host_crashes[-1].foreseen else None
    row, column = row_and_column_of(scenario_id)
    target = host_crashes[-1].target
    blank = ScenarioRecord(scenario_id, row, column, target, Verdict.CRASHED)
    record = held.record if held else blank
    times = "once" if len(host_crashes) == 1 else f"{len(host_crashes)} times"
    return replace(
        record,
        verdict=Verdict.CRASHED,
        reason=f"the host went down {times} with it; not run again",
        crash=Crash(
            step=len(record.steps),
            during=held.before if held else None,
            headline=panic.headline if panic else _NO_REPORT,
            function=panic.function if panic else "",
            frames=panic.frames if panic else (),
            report=panic.text if panic else "",
        ),
    )
