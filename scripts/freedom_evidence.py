"""The table of what the model leaves open: its grounds, and what was seen of it.

Grounds are those of kvmprobe/model/freedom.py.  What was seen is in tests/transcripts, where real
kernels answered, and in tests/lab/silicon.json, where programs ran on processors.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.execution.preflight import profile_of
from kvmprobe.judge.compare import compare
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Done, OneOf
from kvmprobe.results.known import by_id
from kvmprobe.results.transcript import Transcript
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import ExpectedTable, Outcome, Unspecified
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.ops import Op

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "kvmprobe" / "model"
TABLE = MODEL / "contract" / "unspecified.md"
TRANSCRIPTS = ROOT / "tests" / "transcripts"
SILICON = ROOT / "tests" / "lab" / "silicon.json"
# Of the kernels that were recorded on the emulated host, the newest; what is recorded on silicon.
EMULATED, ON_SILICON = ("7.3.4", "7.3.4-documents"), ("host",)
_DEFINITION = "freedom.py"
_HEAD = """\
# What the model leaves open

Written by `scripts/unspecified_table`; a contract test checks that it is fresh, that everything the
model leaves open is named here, and that nothing here is without a use and evidence.

*Emulated* and *silicon* count the open places in recorded answers: how many were as the model's
first answer has them, and how many otherwise.  *Emulated* is Linux 7.3.4 on the emulated Sapphire
Rapids, *silicon* Linux 6.18 on an Intel processor (tests/transcripts); `-` means that nothing there
was open.  *Shown by programs* are answers of `tests/lab/programs/freedoms_user.c`, which differ
between processors (tests/lab/silicon.json).
"""


class Seen(NamedTuple):
    """How many open places were as the model's first answer has them, and how many were not."""

    first: int = 0
    other: int = 0

    def __str__(self) -> str:
        """Return the two counts; ``-`` if there are none."""
        return f"{self.first}, {self.other}" if any(self) else "-"


def uses() -> Mapping[Freedom, list[str]]:
    """Return the functions of the model that name each freedom, as ``module.function``."""
    found: defaultdict[Freedom, list[str]] = defaultdict(list)
    for path in sorted(MODEL.glob("*.py")):
        if path.name == _DEFINITION:
            continue
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef):
                for name in _named(function):
                    found[Freedom[name]].append(f"{path.stem}.{function.name}")
    return found


def _named(function: ast.FunctionDef) -> Iterator[str]:
    names = {
        node.attr: None
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == Freedom.__name__
    }
    yield from sorted(names)


@cache
def recorded(*names: str) -> Mapping[Freedom, Seen]:
    """Return what the kernels of some transcripts did with each freedom."""
    first: Counter[Freedom] = Counter()
    other: Counter[Freedom] = Counter()
    for name in names:
        transcript = Transcript.from_bytes((TRANSCRIPTS / f"{name}.xz").read_bytes())
        host = profile_of(transcript.facts)
        runs = ModelRuns(replace(host, behaviours=transcript.behaviours))
        for entry in transcript.entries:
            defects = frozenset(by_id(defect).behaviour for defect in entry.known)
            steps = runs.with_defects(defects).walked(entry.scenario)
            replies = (reply for step in entry.trace.steps for reply in step.replies)
            ops = (op for _, op in entry.scenario.ops())
            for known, reply, op in zip(steps, replies, ops, strict=False):
                for freedom, as_first in _open_in(known.step.outcome, op, reply, host):
                    (first if as_first else other)[freedom] += 1
    return {freedom: Seen(first[freedom], other[freedom]) for freedom in first | other}


def _open_in(
    outcome: Outcome, op: Op, reply: Reply, host: HostProfile
) -> Iterator[tuple[Freedom, bool]]:
    """Yield each open place of an answer, and whether it is as the model's first answer has it."""
    if isinstance(outcome, OneOf):
        taken = [compare(choice, op, reply, host) is None for choice in outcome.choices]
        if any(taken):
            yield outcome.freedom, taken[0]
            yield from _open_in(outcome.choices[taken.index(True)], op, reply, host)
    elif isinstance(outcome, Done):
        yield from _open_in_done(outcome, op, reply)


def _open_in_done(done: Done, op: Op, reply: Reply) -> Iterator[tuple[Freedom, bool]]:
    output = reply.output or b""
    if done.image is not None:
        yield from _open_places(done.image.image, done.image.unspecified, output)
    if done.memory is not None:
        after = output[done.memory.offset :]
        yield from _open_places(done.memory.content, done.memory.unspecified, after)
    if done.freedom is not None:
        read, opened = op.read(output), done.open_fields.items()
        differing = ((done.fields[name] ^ read.get(name, 0)) & bits for name, bits in opened)
        yield done.freedom, not any(differing)
    if done.table is not None and done.table.freedom is not None and done.table.unspecified:
        yield done.table.freedom, _same_registers(done.table, CpuidTable.from_bytes(output))


def _open_places(
    expected: bytes, places: tuple[Unspecified, ...], observed: bytes
) -> Iterator[tuple[Freedom, bool]]:
    for place in places:
        if any(place.bits):
            parts = (expected[place.offset :], observed[place.offset :], place.bits)
            same = not any((one ^ two) & bits for one, two, bits in zip(*parts, strict=False))
            yield place.freedom, same


def _same_registers(expected: ExpectedTable, read: CpuidTable) -> bool:
    pairs = zip(expected.table.entries, read.entries, strict=False)
    return all(
        getattr(wanted, register) == getattr(seen, register)
        for wanted, seen in pairs
        for leaf, register in expected.unspecified
        if leaf == wanted.leaf
    )


def shown() -> Mapping[Freedom, Mapping[str, Mapping[str, str]]]:
    """Return the answers that programs showed: by freedom, question and processor."""
    found: defaultdict[Freedom, dict[str, dict[str, str]]] = defaultdict(dict)
    for signature, record in json.loads(SILICON.read_text()).items():
        for lines in record["programs"].values():
            for line in lines.get("shows", ()):
                name, question, answer = line.split()
                processors = found[Freedom[name]].setdefault(question, {})
                processors[_processor(signature, record)] = answer
    return found


def _processor(signature: str, record: Mapping[str, str]) -> str:
    return record["brand"] if record["brand"].startswith("Bochs") else signature


def problems(used: Mapping[Freedom, list[str]]) -> list[str]:
    """Return what is wrong: freedoms that nothing uses.  None can be made without a source.

    :param used: where the model names each freedom
    """
    return [f"{freedom.name}: nothing uses it" for freedom in Freedom if not used.get(freedom)]


def unseen() -> list[Freedom]:
    """Return the freedoms of which no record has an answer."""
    seen = recorded(*EMULATED).keys() | recorded(*ON_SILICON).keys() | shown().keys()
    return [freedom for freedom in Freedom if freedom not in seen]


def table() -> str:
    """Return the table's text."""
    emulated, silicon, programs = recorded(*EMULATED), recorded(*ON_SILICON), shown()
    lines = [_HEAD, "| freedom | what is open | emulated | silicon | may lose a value |"]
    lines.append("|---|---|---|---|---|")
    for freedom in Freedom:
        counts = [str(seen.get(freedom, Seen())) for seen in (emulated, silicon)]
        loses = "yes" if freedom.grounds.may_lose else "no"
        lines.append(f"| {' | '.join((freedom.name, str(freedom), *counts, loses))} |")
    lines += ["", f"No record has an answer of: {', '.join(f.name for f in unseen())}."]
    used = uses()
    for freedom in Freedom:
        lines += ["", *_section(freedom, used[freedom], programs.get(freedom, {}))]
    return "\n".join(lines) + "\n"


def _section(
    freedom: Freedom, used: list[str], questions: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    grounds = freedom.grounds
    yield f"## {freedom.name}: {freedom}"
    yield ""
    yield grounds.statement
    yield ""
    yield f"* Sources: {'; '.join(map(str, grounds.sources))}"
    yield f"* In the model: {', '.join(f'`{name}`' for name in used)}"
    yield f"* The guest's value: {grounds.kept}"
    if grounds.may_lose:
        yield f"* May be lost: {grounds.may_lose}"
    for question, answers in questions.items():
        told = ", ".join(f"{answer} on {name}" for name, answer in sorted(answers.items()))
        yield f"* Shown by programs, `{question}`: {told}"


if __name__ == "__main__":
    TABLE.write_text(table())
    sys.stdout.writelines(f"{problem}\n" for problem in problems(uses()))
