"""Typed records from their JSON form: the inverse of ``ScenarioRecord.to_json``.

The JSON has an op's text but not its observers', and what they all read in one object: a step read
back has these values in its first call, and its other calls have results only.  Written again it
is the same JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ScenarioError
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Divergence,
    Finding,
    ScenarioRecord,
    StepRecord,
    Target,
)
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# lab-needs: names are stable and dotted; nothing else may reach a report's names.
_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_ROW_AND_COLUMN = 2


def record_from_json(data: Mapping[str, Any], source: str = "") -> ScenarioRecord:
    """Return the record that ``data`` describes.

    :param source: where the target's kernel came from; the record's JSON does not say it
    :raises ScenarioError: something is missing, or is not what it must be
    """
    try:
        return _record(data, source)
    except KeyError as error:
        raise ScenarioError(f"{_named(data)}: {error.args[0]!r} is missing or unknown") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ScenarioError(f"{_named(data)}: {error}") from error


def _named(data: Mapping[str, Any]) -> str:
    return f"the record of {data.get('id', 'a scenario without id')!s:.80}"


def _record(data: Mapping[str, Any], source: str) -> ScenarioRecord:
    scenario_id = str(data["id"])
    if not _ID.fullmatch(scenario_id):
        raise ValueError("its id has other characters than letters, digits, '_', '-' and dots")
    parts = scenario_id.split(".", _ROW_AND_COLUMN)
    _, row, column = (*parts, "", "")[: _ROW_AND_COLUMN + 1]
    crash = data["crash"]
    return ScenarioRecord(
        id=scenario_id,
        row=row,
        column=column,
        target=Target(str(data["target"]), str(data["kernel"]), source),
        verdict=Verdict(data["verdict"]),
        reason=str(data["reason"]),
        steps=tuple(_step(step) for step in data["steps"]),
        divergences=tuple(
            Divergence(**d | {"details": tuple(d["details"])}) for d in data["divergences"]
        ),
        findings=tuple(
            Finding(**f | {"details": tuple(f["details"]), "known": _defects(f["known"])})
            for f in data["findings"]
        ),
        known=_defects(data["known"]),
        foretold=_defects(data["foretold"]),
        crash=Crash(**crash | {"frames": tuple(crash["frames"])}) if crash else None,
        duration=float(data["duration"]),
    )


def _defects(ids: Iterable[str]) -> tuple[str, ...]:
    known = {defect.id for defect in known_defects().values()}
    for defect in ids:
        if defect not in known:
            raise ValueError(f"no known defect is called {defect!r}: written by a newer kvmprobe?")
    return tuple(ids)


def _step(data: Mapping[str, Any]) -> StepRecord:
    results = data["results"]
    read = {str(name): int(value, 16) for name, value in data["observed"].items()}
    texts = (str(data["op"]), *("" for _ in results[1:]))
    fields = (read, *({} for _ in results[1:]))
    calls = [CallRecord(*call) for call in zip(texts, results, fields, strict=True)]
    return StepRecord(tuple(calls) if results else (), tuple(map(str, data["kernel_log"])))
