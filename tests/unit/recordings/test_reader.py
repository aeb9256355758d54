"""A recording is read as it was written; whatever else a file contains has its error."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib

import jsonschema
import pytest

from kvmprobe.abi import ioctls
from kvmprobe.errors import RecordingError, RecordingTruncated
from kvmprobe.recordings.lines import Call, EndReason, Unread
from kvmprobe.recordings.payloads import name_of
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.recordings.schema import WINDOW, recording_schema
from tests.support.recordings import HEADER, call, recording, small, write

HEADER_LINE, PROCESS, OBJECT, PAYLOAD, CALL, END = range(6)


def _entries(path):
    with RecordingReader(path) as reader:
        return list(reader)


def _error(path):
    with pytest.raises(RecordingError) as caught:
        _entries(path)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vmm.jsonl"


def test_entries_have_the_lines_with_payload_object_and_ioctl(path):
    small(path)
    with RecordingReader(path) as reader:
        assert reader.header == HEADER
        entry = next(e for e in reader if isinstance(e.line, Call))
    assert entry.sent == b"\1" * 4096
    assert entry.target is not None
    assert entry.target.number == 0
    assert entry.spec is ioctls.SET_XSAVE
    assert entry.number == CALL + 1


def test_the_facts_of_the_host_are_those_that_were_written(path):
    facts = {"cpu": {"vendor": "x"}, "behaviours": {"found": []}}
    with recording(path, facts) as writer:
        writer.end(1, EndReason.ENDED)
    with RecordingReader(path) as reader:
        assert reader.host == facts


def test_every_line_follows_the_schema(path):
    with recording(path, {"cpu": {}}) as writer:
        writer.write(call(1, sent=writer.payload(b"x"), unread={"got": "EFAULT"}))
        writer.write(Unread(3, 0, "calls of thread 7", "it is a 32-bit program"))
        writer.end(4, EndReason.ENDED, 0)
    validator = jsonschema.Draft202012Validator(recording_schema())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line for line in lines if not validator.is_valid(line)] == []


def test_a_payload_is_written_once(path):
    with recording(path) as writer:
        for order in range(1, 21, 2):
            writer.write(call(order, sent=writer.payload(b"same")))
    assert path.read_text().count('"payload"') == 1


def test_a_payload_that_left_the_window_is_written_again(path):
    with recording(path) as writer:
        for number in range(WINDOW + 1):
            writer.payload(number.to_bytes(4, "little"))
        writer.write(call(1, sent=writer.payload(bytes(4))))
        writer.end(3, EndReason.ENDED)
    assert [e.sent for e in _entries(path) if isinstance(e.line, Call)] == [bytes(4)]


def test_what_was_before_a_truncation_is_read(path):
    lines = small(path)
    write(path, lines[:END])
    found = []
    with (
        RecordingReader(path) as reader,
        pytest.raises(RecordingTruncated, match=rf"vmm\.jsonl:{END}: .*without a line"),
    ):
        found.extend(iter(reader))
    assert type(found[-1].line) is Call


def test_a_cut_line_is_a_truncation_with_its_number(path):
    small(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RecordingTruncated, match=rf"vmm\.jsonl:{END + 1}: .*within this line"):
        _entries(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it does not begin with the schema kvmprobe-recording/1"),
        (b"\x7fELF\2\1\n", "it does not begin with the schema kvmprobe-recording/1"),
        (b"[1]\n", "expected a JSON object"),
        (b'{"schema":"kvmprobe-run/2"}\n', "it does not begin with the schema"),
        (
            b'{"type":"recording","schema":"kvmprobe-recording/9"}\n',
            "from a newer kvmprobe: it is kvmprobe-recording/9",
        ),
        (
            b'{"type":"recording","schema":"kvmprobe-recording/1","architecture":"aarch64"}\n',
            "architecture: expected x86_64, not 'aarch64'",
        ),
        (b"[" * 500_000 + b"\n", "it does not begin with the schema"),
        (b"x" * (2 << 20), "expected a line of at most 1048576 bytes"),
    ],
)
def test_another_file_is_refused_at_its_first_line(path, content, message):
    path.write_bytes(content)
    assert message in _error(path)
    assert str(path) in _error(path)


def test_a_missing_file_is_named(path):
    assert _error(path) == f"{path}: No such file or directory"


BROKEN = [
    (PROCESS, {"event": "born"}, "$.event: unknown ProcessChange: 'born'"),
    (OBJECT, {"type": "thing"}, "type: expected one of recording, payload, object"),
    (OBJECT, {"of": "vm7"}, "of: no object 'vm7' was before it"),
    (OBJECT, {"id": "v" * 300}, "id: expected at most 256 characters"),
    (PAYLOAD, {"data": "%%%"}, "data: expected base64"),
    (PAYLOAD, {"data": "AAAA"}, "data: expected a zlib stream"),
    (PAYLOAD, {"size": 4095}, "data: expected a zlib stream of 4095 bytes and no more"),
    (PAYLOAD, {"size": 1 << 40}, "size: expected at most 65536 bytes"),
    (PAYLOAD, {"hash": "0" * 32}, "hash: expected "),
    (CALL, {"on": "vcpu9"}, "on: no object 'vcpu9' was before it"),
    (CALL, {"process": 4}, "process: no process 4 was before it"),
    (CALL, {"sent": "ff"}, "sent: the payload 'ff' was not before it, or too long ago"),
    (CALL, {"result": "0"}, "$.result: expected an integer of 64 bits"),
    (CALL, {"result": 1 << 70}, "$.result: expected an integer of 64 bits"),
    (CALL, {"order": [1]}, "$.order: expected 2 items, not 1"),
    (CALL, {"order": [2, 1]}, "order: expected an end after 0"),
    (CALL, {"order": [0, 0]}, "order: expected an end after 0"),
    (CALL, {"surprise": 1}, "$: unknown member 'surprise'"),
    (END, {"calls": None}, "$.calls: expected an integer of 64 bits"),
]


@pytest.mark.parametrize(("line", "change", "message"), BROKEN)
def test_a_broken_line_is_named_with_what_was_expected(path, line, change, message):
    lines = small(path)
    lines[line] |= change
    write(path, lines)
    assert _error(path).startswith(f"{path}:{line + 1}: {message}")


def test_a_line_after_the_end_is_refused(path):
    lines = small(path)
    write(path, [*lines, lines[CALL]])
    assert "expected nothing after the line of type 'end'" in _error(path)


def test_an_object_cannot_be_declared_twice(path):
    lines = small(path)
    write(path, [*lines[:PAYLOAD], lines[OBJECT], *lines[PAYLOAD:]])
    assert "id: 'vcpu0' was used before" in _error(path)


def test_a_decompression_bomb_costs_no_memory(path):
    lines = small(path)
    content = bytes(1 << 26)
    data = base64.b64encode(zlib.compress(content)).decode()
    lines[PAYLOAD] |= {"size": 1 << 16, "data": data, "hash": name_of(content)}
    write(path, lines)
    tracemalloc.start()
    try:
        message = _error(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "expected a zlib stream of 65536 bytes and no more" in message
    assert most < 4 << 20


def test_memory_does_not_grow_with_the_number_of_calls(path):
    with recording(path) as writer:
        for order in range(1, 20_001, 2):
            writer.write(call(order, sent=writer.payload(order.to_bytes(1024, "little"))))
        writer.end(20_001, EndReason.ENDED)
    tracemalloc.start()
    try:
        with RecordingReader(path) as reader:
            number = sum(isinstance(entry.line, Call) for entry in reader)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number == 10_000
    # 1024 payloads of 1 KiB, and their names.
    assert most < 4 << 20
