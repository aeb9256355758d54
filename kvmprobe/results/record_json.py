"""Typed records from their JSON form: the inverse of ``ScenarioRecord.to_json``.

Nothing is lost but the target's source.  Of a document that does not name observers, a step read
back has all values in its first call, and its other calls have results only.
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
from kvmprobe.results.step_json import values_of_calls
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.scenario_id import row_and_column_of
from kvmprobe.xstate.diff import DifferingRegion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# lab-needs: names are stable and dotted; nothing else may reach a report's names.
_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_Observer = tuple[str, tuple[str, ...]]


def record_from_json(data: Mapping[str, Any], source: str = "") -> ScenarioRecord:
    """Return the record that ``data`` describes.

    :param source: where the target's kernel came from; the record's JSON does not say it
    :raises ScenarioError: something is missing, or is not what it must be
    """
    try:
        return _record(data, source)
    except KeyError as error:
        raise ScenarioError(f"{_named(data)}: {error.args[0]!r} is missing or unknown") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise ScenarioError(f"{_named(data)}: {error}") from error


def _named(data: Mapping[str, Any]) -> str:
    return f"the record of {data.get('id', 'a scenario without id')!s:.80}"


def _record(data: Mapping[str, Any], source: str) -> ScenarioRecord:
    scenario_id = str(data["id"])
    if not _ID.fullmatch(scenario_id):
        raise ValueError("its id has other characters than letters, digits, '_', '-' and dots")
    row, column = row_and_column_of(scenario_id)
    crash, hang = data["crash"], data.get("hang")
    return ScenarioRecord(
        id=scenario_id,
        row=row,
        column=column,
        target=Target(str(data["target"]), str(data["kernel"]), source),
        verdict=Verdict(data["verdict"]),
        reason=str(data["reason"]),
        steps=_steps(data),
        divergences=tuple(map(_divergence, data["divergences"])),
        findings=tuple(
            Finding(**f | {"details": tuple(f["details"]), "known": _defects(f["known"])})
            for f in data["findings"]
        ),
        known=_defects(data["known"]),
        expected_defects=_defects(data["expected_defects"]),
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


def _steps(data: Mapping[str, Any]) -> tuple[StepRecord, ...]:
    observers = [
        (str(observer["op"]), tuple(map(str, observer["fields"])))
        for observer in data.get("observers", ())
    ]
    return tuple(_step(step, observers) for step in data["steps"])


def _step(data: Mapping[str, Any], known: Sequence[_Observer]) -> StepRecord:
    results = data["results"]
    log = tuple(map(str, data["kernel_log"]))
    if not results:
        return StepRecord((), log)
    # Older documents do not name them.
    unnamed: Sequence[_Observer] = [("", ())] * (len(results) - 1)
    observers = [known[number] for number in data["observers"]] if "observers" in data else unnamed
    texts = (str(data["op"]), *(text for text, _ in observers))
    values = values_of_calls(data, [names for _, names in observers])
    calls = zip(texts, results, values, strict=True)
    return StepRecord(tuple(CallRecord(text, result, *has) for text, result, has in calls), log)
