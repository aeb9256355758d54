"""Typed records from their JSON form: the inverse of ``ScenarioRecord.to_json``.

The JSON has an op's text but not its observers', and what they all read in one object: a step read
back has these values in its first call, and its other calls have results only.  What a correct
kernel shows is there where it is something else.  Written again it is the same JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ScenarioError
from kvmprobe.results.hang import hang_from_json
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Divergence,
    Finding,
    ImageDifference,
    ScenarioRecord,
    StepRecord,
    Target,
)
from kvmprobe.results.verdict import Verdict
from kvmprobe.xstate.diff import DifferingRegion

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
    crash, hang = data["crash"], data.get("hang")
    return ScenarioRecord(
        id=scenario_id,
        row=row,
        column=column,
        target=Target(str(data["target"]), str(data["kernel"]), source),
        verdict=Verdict(data["verdict"]),
        reason=str(data["reason"]),
        steps=tuple(_step(step) for step in data["steps"]),
        divergences=tuple(map(_divergence, data["divergences"])),
        findings=tuple(
            Finding(**f | {"details": tuple(f["details"]), "known": _defects(f["known"])})
            for f in data["findings"]
        ),
        known=_defects(data["known"]),
        foretold=_defects(data["foretold"]),
        crash=Crash(**crash | {"frames": tuple(crash["frames"])}) if crash else None,
        hang=hang_from_json(hang) if hang else None,
        duration=float(data["duration"]),
    )


def _divergence(data: Mapping[str, Any]) -> Divergence:
    image = _image(data.get("image"))
    return Divergence(**{**data, "details": tuple(data["details"]), "image": image})


def _image(data: Mapping[str, Any] | None) -> ImageDifference | None:
    if data is None:
        return None
    regions = (
        DifferingRegion(
            str(region["name"]),
            int(region["offset"]),
            int(region["size"]),
            tuple((int(offset), int(size)) for offset, size in region["runs"]),
        )
        for region in data["regions"]
    )
    return ImageDifference(int(data["size"]), tuple(regions))


def _defects(ids: Iterable[str]) -> tuple[str, ...]:
    known = {defect.id for defect in known_defects().values()}
    for defect in ids:
        if defect not in known:
            raise ValueError(f"no known defect is called {defect!r}: written by a newer kvmprobe?")
    return tuple(ids)


def _step(data: Mapping[str, Any]) -> StepRecord:
    results = data["results"]
    log = tuple(map(str, data["kernel_log"]))
    if not results:
        return StepRecord((), log)
    values = (_values(data.get(name, {})) for name in ("observed", "expected", "undetermined"))
    first = CallRecord(str(data["op"]), results[0], *values)
    return StepRecord((first, *(CallRecord("", result) for result in results[1:])), log)


def _values(data: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(value, 16) for name, value in data.items()}
