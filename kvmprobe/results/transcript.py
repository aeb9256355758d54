"""A transcript: the replies of one kernel to many scenarios, which can be judged again.

A file is compressed by xz; it has one line of JSON, then the outputs, to which the JSON refers by
number.  Repeated ops, outputs and rows of replies are stored once.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.errors import ScenarioError
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.pool import Pool
from kvmprobe.results.record import Target
from kvmprobe.results.trace import End, Reply, Trace, TraceStep
from kvmprobe.scenarios.ops import Op, decode, encode
from kvmprobe.scenarios.scenario import Need, Scenario, ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.model.behaviours import Behaviours

SCHEMA = "kvmprobe-transcript/1"
_NO_OUTPUT = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """One scenario and the replies of the kernel.

    :ivar known: ids of the known defects that explain the replies
    :ivar judged: number of bytes in the replies that the model determined
    """

    scenario: Scenario
    trace: Trace
    known: tuple[str, ...]
    judged: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """The facts and the entries of one target.

    :ivar facts: the report of its worker
    :ivar behaviours: the behaviours that its probes found
    """

    target: Target
    facts: dict[str, Any]
    behaviours: Behaviours
    entries: tuple[Entry, ...]

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        ops, outputs, rows = Pool[str](), Pool[bytes](), Pool[str]()
        entries = [_entry_to_json(entry, ops, outputs, rows) for entry in self.entries]
        document = {
            "schema": SCHEMA,
            "target": [self.target.kind, self.target.kernel, self.target.source],
            "facts": self.facts,
            "behaviours": sorted(b.name for b in self.behaviours),
            "ops": [json.loads(op) for op in ops.values],
            "rows": [json.loads(row) for row in rows.values],
            "outputs": [len(output) for output in outputs.values],
            "entries": entries,
        }
        line = json.dumps(document, separators=(",", ":")).encode()
        return lzma.compress(line + b"\n" + b"".join(outputs.values), preset=9)

    @classmethod
    def from_bytes(cls, content: bytes) -> Transcript:
        """Return the transcript that :meth:`to_bytes` wrote.

        :raises ScenarioError: another schema, or an unknown op
        """
        line, _, blob = lzma.decompress(content).partition(b"\n")
        return cls.from_document(json.loads(line), blob)

    @classmethod
    def from_document(cls, document: dict[str, Any], blob: bytes) -> Transcript:
        """Return the transcript with this parsed first line and these outputs.

        :raises ScenarioError: another schema, or an unknown op
        """
        if document.get("schema") != SCHEMA:
            raise ScenarioError(f"transcript with schema {document.get('schema')!r}, not {SCHEMA}")
        ops = [decode(op) for op in document["ops"]]
        rows = _replies(document["rows"], _cut(blob, document["outputs"]))
        return cls(
            target=Target(*document["target"]),
            facts=document["facts"],
            behaviours=frozenset(Behaviour[name] for name in document["behaviours"]),
            entries=tuple(_entry_from_json(entry, ops, rows) for entry in document["entries"]),
        )


def _entry_to_json(
    entry: Entry, ops: Pool[str], outputs: Pool[bytes], rows: Pool[str]
) -> dict[str, Any]:
    scenario, trace = entry.scenario, entry.trace
    logs = {str(n): list(s.kernel_log) for n, s in enumerate(trace.steps) if s.kernel_log}
    return {
        "id": scenario.id,
        "place": [scenario.row, scenario.column],
        "needs": sorted(need.name for need in scenario.needs),
        "registers": scenario.registers.name,
        "steps": [[ops.number(json.dumps(encode(op))) for op in s.ops] for s in scenario.steps],
        "replies": [rows.number(_row(step, outputs)) for step in trace.steps],
        "logs": logs,
        "end": [trace.end.value, trace.end_note, trace.taint],
        "known": list(entry.known),
        "judged": entry.judged,
    }


def _row(step: TraceStep, outputs: Pool[bytes]) -> str:
    return json.dumps(
        [
            [reply.result, _NO_OUTPUT if reply.output is None else outputs.number(reply.output)]
            for reply in step.replies
        ]
    )


def _cut(blob: bytes, sizes: Iterable[int]) -> list[bytes]:
    outputs, start = [], 0
    for size in sizes:
        outputs.append(blob[start : start + size])
        start += size
    return outputs


def _replies(rows: list[list[list[int]]], outputs: list[bytes]) -> list[tuple[Reply, ...]]:
    return [
        tuple(
            Reply(result, None if output == _NO_OUTPUT else outputs[output])
            for result, output in row
        )
        for row in rows
    ]


def _entry_from_json(entry: dict[str, Any], ops: list[Op], rows: list[tuple[Reply, ...]]) -> Entry:
    steps = tuple(
        ScenarioStep(ops[numbers[0]], tuple(ops[n] for n in numbers[1:]))
        for numbers in entry["steps"]
    )
    row, column = entry["place"]
    needs = frozenset(Need[name] for name in entry["needs"])
    # Transcripts that are older than the member have scenarios without one.
    registers = HostRegisters[entry.get("registers", HostRegisters.AS_THEY_ARE.name)]
    logs = entry["logs"]
    seen = tuple(
        TraceStep(rows[replies], tuple(logs.get(str(number), ())))
        for number, replies in enumerate(entry["replies"])
    )
    end, note, taint = entry["end"]
    return Entry(
        Scenario(entry["id"], row, column, steps, needs, registers=registers),
        Trace(seen, End(end), note, taint=taint),
        tuple(entry["known"]),
        entry["judged"],
    )
