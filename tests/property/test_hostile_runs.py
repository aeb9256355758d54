"""Kept runs that were cut, damaged or made to mislead: read rightly or refused, never misread.

Every command that reads a run is tried through its grammar; status 3 is a bug in kvmprobe.
"""

import contextlib
import hashlib
import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.host.files import HostFiles
from kvmprobe.reports.formats import names
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_document import read_run
from kvmprobe.results.schema import JOURNAL, RUN
from tests.support.runs import EVERY

# A short one that the catalogue has, so that `bugreport` gets as far as its text.
SCENARIO = "system.descriptor.none-left"
RECORDS = [replace(r, id=SCENARIO) if r.id == "restore.b.x" else r for r in EVERY.records]
FACTS = {"kernel": {"release": "6.12.43"}, "cpu": {"signature": 0x806F8}, "settings": {"a": 1}}
PLACE = {"target": {"kind": "lab", "kernel": "6.12.43", "source": "x"}, "real": False}
POINT = {"seconds": 1.5, "sequences": 64, "calls": 1300, "transitions": 500, "blocks": 2000}
BEGIN = {
    "schema": JOURNAL,
    "run_id": "3b0c0f5e",
    "tool": "kvmprobe 0.1.0",
    "command": ["kvmprobe", "run"],
    "argv": ["replay"],
    "directory": "/",
    "boot_id": HostFiles().boot_id(),
    "time": "2026-01-01T00:00:00Z",
}


def entries_of(records):
    """The journal of a complete run."""
    planned = [record.id for record in records]
    return [
        {"type": "begin", **BEGIN, "planned": planned},
        {"type": "place", **PLACE, "facts": "", "time": BEGIN["time"]},
        {"type": "intent", "batch": 1, "scenarios": planned, "goes_on": False},
        {"type": "growth", "strategy": "guided", "point": POINT},
        *({"type": "result", "record": record_to_json(record)} for record in records),
        {
            "type": "end",
            "complete": True,
            "not_completed": [],
            "notes": ["a"],
            "time": BEGIN["time"],
        },
    ]


ENTRIES = entries_of(RECORDS)
# Facts are the same for all records.
FAILURE = entries_of([record for record in RECORDS if record.id == SCENARIO])
DOCUMENT = {
    "schema": RUN,
    "tool": BEGIN["tool"],
    "command": BEGIN["command"],
    "targets": [PLACE["target"]],
    "scenarios": [record_to_json(record) for record in RECORDS],
    "summary": {"complete": True, "not_completed": []},
}
DEEP = "DEEP"
HOSTILE = st.one_of(
    st.sampled_from([None, True, 0, -1, 2**32, 2**64, -(2**64), 10**400]),
    st.sampled_from([1e308, float("inf"), float("nan")]),
    st.sampled_from(
        ["", "x", "../../etc/passwd", "\x1b[2J", "0" * 64, "0x" + "f" * 4000, "\ud800"]
    ),
    st.sampled_from([[], {}, [[]], [None], [0], [""], {"": None}, DEEP]),
)


def paths_in(data, path=()):
    """Return the places of all values in JSON data."""
    items = data.items() if isinstance(data, dict) else ()
    items = enumerate(data) if isinstance(data, list) else items
    below = [place for key, value in items for place in paths_in(value, (*path, key))]
    return [path, *below]


def changed(data, path, value):
    """Return the data with another value at a place."""
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def text_of(data):
    nested = "[" * 3000 + "]" * 3000
    return json.dumps(data).replace(f'"{DEEP}"', nested)


def kept(folder, entries, facts=FACTS):
    """Write a run's directory with these entries."""
    payload = text_of(facts).encode()
    name = hashlib.sha256(payload).hexdigest()
    file = folder / "payloads" / name[:2] / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(payload)
    filled = [
        {**e, "facts": name} if isinstance(e, dict) and e.get("facts") == "" else e for e in entries
    ]
    (folder / "journal.jsonl").write_text("".join(f"{text_of(e)}\n" for e in filled))
    return folder


def statuses(path, folder):
    """Return the status of each command on a run."""
    commands = [
        *(["report", str(path), "--format", name, "--output", "-"] for name in names()),
        ["diff", str(path), str(path)],
        ["bugreport", str(path), SCENARIO, "--output", str(folder / "mail")],
    ]
    if path.is_dir():
        commands.append(["resume", str(path)])
    found = {}
    for command in commands:
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as said:
            found[" ".join(command)] = main(command)
        assert "Traceback" not in said.getvalue()
    return found


def refused_or_read(path, folder):
    found = statuses(path, folder)
    allowed = {ExitCode.OK, ExitCode.DIVERGED, ExitCode.USAGE}
    assert {c: s for c, s in found.items() if s not in allowed} == {}


def test_without_a_hostile_value_every_command_shows_the_run(tmp_path):
    # What these refuse at once, no hostile value gets through.
    (tmp_path / "run.json").write_text(text_of(DOCUMENT))
    runs = kept(tmp_path / "whole", ENTRIES), kept(tmp_path / "failure", FAILURE)
    for path in (*runs, tmp_path / "run.json"):
        found = statuses(path, tmp_path)
        refused = {command.split()[0] for command, status in found.items() if status}
        assert refused <= {"resume"}  # there is nothing left to do


@given(st.data())
def test_a_hostile_value_in_a_journal_is_refused_or_shown(data):
    number = data.draw(st.integers(0, len(ENTRIES) - 1))
    place = data.draw(st.sampled_from(paths_in(ENTRIES[number])))
    entries = changed(ENTRIES, (number, *place), data.draw(HOSTILE))
    with tempfile.TemporaryDirectory() as name:
        refused_or_read(kept(Path(name) / "run", entries), Path(name))


@given(st.data())
def test_a_hostile_value_in_the_facts_is_refused_or_shown(data):
    place = data.draw(st.sampled_from(paths_in(FACTS)))
    with tempfile.TemporaryDirectory() as name:
        facts = changed(FACTS, place, data.draw(HOSTILE))
        refused_or_read(kept(Path(name) / "run", FAILURE, facts), Path(name))


@given(st.data())
def test_a_hostile_value_in_a_document_is_refused_or_shown(data):
    place = data.draw(st.sampled_from(paths_in(DOCUMENT)))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run.json"
        path.write_text(text_of(changed(DOCUMENT, place, data.draw(HOSTILE))))
        refused_or_read(path, Path(name))


@given(st.data())
def test_of_a_journal_that_was_cut_the_whole_entries_are_read(data):
    with tempfile.TemporaryDirectory() as name:
        run = kept(Path(name) / "run", ENTRIES)
        journal = run / "journal.jsonl"
        content = journal.read_bytes()
        journal.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            found = read_run(run)
        except UsageError:
            assert b"\n" not in journal.read_bytes()
            return
        records = [record_to_json(record) for record in found.records]
        assert records == DOCUMENT["scenarios"][: len(records)]
        assert found.planned == [record.id for record in RECORDS]
