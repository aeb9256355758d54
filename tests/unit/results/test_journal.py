"""The journal: whole lines only, one writer, nothing lost of what was there."""

import json
import resource
from contextlib import suppress

import pytest

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.results.durable import scratch_name
from kvmprobe.results.journal import EntryType, Journal, read_entries

BEGIN = {"planned": ["a.b"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture
def journal(path):
    opened = Journal.begin(path, BEGIN)
    yield opened
    opened.close()


def test_a_new_journal_has_its_first_entry_and_nothing_else(path, journal):
    first = {"type": "begin", "schema": "kvmprobe-journal/2", "planned": ["a.b"]}
    assert (read_entries(path), list(path.parent.iterdir())) == ([first], [path])


def test_entries_are_read_in_order(path, journal):
    journal.append(EntryType.INTENT, {"batch": 1})
    journal.append(EntryType.END, {"batch": 2})
    assert [e["type"] for e in read_entries(path)] == ["begin", "intent", "end"]


def test_what_a_killed_writer_left_of_a_line_is_not_read(path, journal):
    with path.open("ab") as file:
        file.write(b'{"type":"intent","batch"')
    assert [e["type"] for e in read_entries(path)] == ["begin"]


@pytest.mark.parametrize("left", [b'{"type":"int', b"x" * (3 << 16)])
def test_it_is_cut_off_before_the_next_entry(path, journal, left):
    journal.close()
    with path.open("ab") as file:
        file.write(left)
    opened = Journal(path)
    opened.append(EntryType.END, {})
    opened.close()
    assert [e["type"] for e in read_entries(path)] == ["begin", "end"]


def test_a_second_writer_is_refused(path, journal):
    with pytest.raises(RunDirectoryError, match="another kvmprobe is writing this run"):
        Journal(path)


def test_a_journal_that_was_closed_has_room_for_another_writer(path, journal):
    journal.close()
    Journal(path).close()


def test_a_whole_line_that_is_no_entry_is_named(path, journal):
    with path.open("ab") as file:
        file.write(b'{"type":"wish"}\n')
    with pytest.raises(UsageError, match=r"journal\.jsonl:2: not an entry of a journal"):
        read_entries(path)


def test_a_file_that_begins_otherwise_is_refused(path):
    path.write_text(json.dumps({"type": "end"}) + "\n")
    with pytest.raises(UsageError, match="does not begin with the schema kvmprobe-journal/2"):
        read_entries(path)


def test_a_journal_of_an_older_version_is_refused_as_too_old(path):
    path.write_text(json.dumps({"type": "begin", "schema": "kvmprobe-journal/1"}) + "\n")
    why = "too old: it is kvmprobe-journal/1, this kvmprobe reads kvmprobe-journal/2; read it with"
    with pytest.raises(UsageError, match=why):
        read_entries(path)


def test_a_journal_that_cannot_be_begun_leaves_nothing(tmp_path):
    path = tmp_path / "missing" / "journal.jsonl"
    with pytest.raises(RunDirectoryError, match="No such file"):
        Journal.begin(path, BEGIN)
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_of_a_beginning_is_no_hindrance(path):
    path.with_name(scratch_name(path.name)).write_text("half")
    Journal.begin(path, BEGIN).close()
    assert len(read_entries(path)) == 1


def test_an_entry_that_does_not_fit_leaves_the_others_whole(path, journal):
    # RLIMIT_FSIZE stops a write in its middle, as a full file system does.
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    start, entry = path.stat().st_size, {"batch": 1}
    try:
        for limit in range(start, start + 200):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
            before = path.read_bytes()
            with suppress(RunDirectoryError):
                journal.append(EntryType.INTENT, entry)
                before = path.read_bytes()
            assert path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert len(read_entries(path)) > 2


# ext4 and XFS write a file's pages in any order: what has not got to the disk reads as zeros.
def torn(path, *lines):
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in lines)


HOLE = b"\0" * 40
RESULT = b'{"type":"result","record":{}}'
INTENT = b'{"type":"intent","batch":2}'


@pytest.mark.parametrize("behind", [(), (RESULT,), (RESULT, INTENT)])
def test_what_a_panic_left_of_the_last_batch_is_cut_off(path, journal, behind):
    journal.append(EntryType.INTENT, {"batch": 1})
    journal.close()
    torn(path, HOLE, *behind)
    assert [e["type"] for e in read_entries(path)] == ["begin", "intent"]
    opened = Journal(path)
    opened.append(EntryType.END, {})
    opened.close()
    assert [e["type"] for e in read_entries(path)] == ["begin", "intent", "end"]


def test_a_hole_before_what_was_flushed_is_damage(path, journal):
    torn(path, HOLE, INTENT, RESULT)
    with pytest.raises(UsageError, match=r"journal\.jsonl:2: not an entry of a journal"):
        read_entries(path)


def test_what_is_no_journal_is_not_cut(path):
    path.write_bytes(b"mine\nand mine")
    with pytest.raises(UsageError, match=r"journal\.jsonl:1: not an entry of a journal"):
        Journal(path)
    assert path.read_bytes() == b"mine\nand mine"
