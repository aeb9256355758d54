"""The records as data for the script of the page; repeated values are written once.

Records are lists, whose order ``data.js`` has.  Texts are numbers of items in ``texts``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmprobe.abi.fields import kind_of
from kvmprobe.abi.layout import FieldKind
from kvmprobe.reports.claims import finding_details, finding_text
from kvmprobe.reports.differences import shown, where
from kvmprobe.reports.hangs import hang_lines
from kvmprobe.reports.html_report.console_log import telling_lines
from kvmprobe.reports.operands import short_call
from kvmprobe.reports.values import NAMED, call_text, errno_symbol, rule_text, value_text
from kvmprobe.results.difference import ImageDiffers
from kvmprobe.results.known import by_id, known_defects
from kvmprobe.results.pool import Pool
from kvmprobe.results.verdict import FAILURES, Verdict
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmprobe.reports.html_report.columns import Column
    from kvmprobe.results.hang import Hang
    from kvmprobe.results.record import (
        CallRecord,
        Crash,
        Divergence,
        Finding,
        ScenarioRecord,
        StepRecord,
    )

# Nested tuples of numbers: hashable, so that they can be pooled.
Packed = tuple[Any, ...]
_VERDICTS = tuple(Verdict)
_NOTHING: Packed = ()
_MILLISECONDS = 1000


def payload(columns: Sequence[Column], ids: Sequence[str]) -> dict[str, Any]:
    """Return the data of a page, ready for JSON."""
    packer = _Packer()
    records = [packer.column(column, ids) for column in columns]
    return {
        "verdicts": [
            {"name": v.value, "sign": v.sign, "failure": v in FAILURES} for v in _VERDICTS
        ],
        "features": {int(feature): feature.name for feature in XFeature},
        "defects": {d.id: _defect(d.id) for d in known_defects().values()},
        "columns": [
            {"label": c.label, "target": c.target.description, "source": c.target.source}
            for c in columns
        ],
        "ids": list(ids),
        "records": records,
        **packer.pools(),
    }


def _defect(defect_id: str) -> dict[str, str]:
    defect = by_id(defect_id)
    return {"label": defect.label(), "title": defect.title, "reference": defect.reference}


class _Packer:
    """Packs records, and collects the values that they share."""

    def __init__(self) -> None:
        self._texts = Pool[str]()
        self._fields = Pool[Packed]()
        self._calls = Pool[Packed]()
        self._steps = Pool[Packed]()
        self._traces = Pool[Packed]()
        self._divergences = Pool[Packed]()
        self._images = Pool[Packed]()
        self._findings = Pool[Packed]()
        self._crashes = Pool[Packed]()
        self._errnos: dict[int, str] = {}
        self._named_values: dict[str, dict[str, str]] = {}
        self._bitmaps: dict[str, None] = {}
        self._fields.number(_NOTHING)

    def pools(self) -> dict[str, Any]:
        """Return the pools by name."""
        return {
            "texts": self._texts.values,
            "fields": self._fields.values,
            "calls": self._calls.values,
            "steps": self._steps.values,
            "traces": self._traces.values,
            "divergences": self._divergences.values,
            "images": self._images.values,
            "findings": self._findings.values,
            "crashes": self._crashes.values,
            "errnos": self._errnos,
            "names": self._named_values,
            "bitmaps": list(self._bitmaps),
        }

    def column(self, column: Column, ids: Sequence[str]) -> list[Packed | int]:
        """Return the records of a column in the order of the ids; 0 if there is no record."""
        records = {record.id: record for record in column.records}
        return [self._record(records[i]) if i in records else 0 for i in ids]

    def _record(self, record: ScenarioRecord) -> Packed:
        packed: list[Any] = [
            _VERDICTS.index(record.verdict),
            round(record.duration * _MILLISECONDS, 1),
            self._traces.number(tuple(self._step(step) for step in record.steps)),
            record.known,
            self._all(record.reason.splitlines()),
            tuple(self._divergence(found) for found in record.divergences),
            tuple(self._finding(found) for found in record.findings),
            self._crash(record.crash) if record.crash else -1,
            record.expected_defects,
            self._hang(record.hang) if record.hang else _NOTHING,
        ]
        while packed[-1] in (_NOTHING, -1):
            packed.pop()
        return tuple(packed)

    def _step(self, step: StepRecord) -> int:
        calls = tuple(self._call(call) for call in step.calls)
        return self._steps.number((calls, *((self._all(log),) if (log := step.kernel_log) else ())))

    def _call(self, call: CallRecord) -> int:
        if call.result < 0:
            self._errnos[-call.result] = errno_symbol(call.result)
        values = (call.fields, call.expected, call.undetermined)
        texts = self._all((call.op.text, short_call(call.op)))
        packed = [*texts, call.result, *map(self._named, values)]
        while len(packed) > 3 and packed[-1] == 0:
            packed.pop()
        return self._calls.number(tuple(packed))

    def _named(self, values: Mapping[str, int]) -> int:
        """Return the number of a list of alternating names and values."""
        for name, value in values.items():
            kind = kind_of(name)
            if kind is FieldKind.BITMAP:
                self._bitmaps[name] = None
            elif kind in NAMED:
                self._named_values.setdefault(name, {})[hex(value)] = value_text(name, value)
        pairs = ((self._texts.number(name), hex(value)) for name, value in values.items())
        return self._fields.number(tuple(part for pair in pairs for part in pair))

    def _divergence(self, found: Divergence) -> int:
        text, difference = shown(found.difference), found.difference
        rule = rule_text(found.rule, found.read_by)
        return self._divergences.number(
            (
                found.step,
                *self._all((*where(found), text.expected, text.observed, rule)),
                self._all(text.details),
                self._image(difference) if isinstance(difference, ImageDiffers) else -1,
            )
        )

    def _image(self, image: ImageDiffers) -> int:
        regions = (
            (self._texts.number(region.name), region.offset, region.size, region.runs)
            for region in image.regions
        )
        return self._images.number((image.size, *regions))

    def _finding(self, found: Finding) -> int:
        text = finding_text(found)
        texts = self._all((found.checker, found.invariant, text, found.other))
        details = self._all(finding_details(found))
        return self._findings.number((found.step, *texts, details, found.known))

    def _crash(self, crash: Crash) -> int:
        lines = crash.report.splitlines()
        return self._crashes.number(
            (
                crash.step,
                *self._all((call_text(crash.during), crash.headline, crash.function)),
                self._all(crash.frames),
                self._all(lines),
                telling_lines(crash, lines),
                self._texts.number(short_call(crash.during)),
                *self._all((crash.victim,) if crash.victim else ()),
            )
        )

    def _hang(self, hang: Hang) -> Packed:
        during = self._texts.number(call_text(hang.during))
        return (hang.step, during, self._all(hang_lines(hang)))

    def _all(self, texts: Iterable[str]) -> Packed:
        return tuple(self._texts.number(text) for text in texts)
