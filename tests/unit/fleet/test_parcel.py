"""What a worker returns is read as data of a stranger."""

import json

import pytest
import zstandard

from kvmprobe.errors import ScenarioError
from kvmprobe.execution.journaling import Journaling
from kvmprobe.execution.place import Risk
from kvmprobe.fleet.parcel import Ending, pack, unpack
from kvmprobe.results.history import History
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.results.run_document import Ending as RunEnding
from tests.support.fake_runs import run_of, some_scenarios

ENDING = Ending("one", "tls://10.0.0.7:4000")
OUTPUT = bytes(4096)


@pytest.fixture
def kept(tmp_path):
    """The directory of a run of some scenarios, with an output of one."""
    records = run_of("7.3.4", some_scenarios(5)).records
    begin = {"boot_id": "b", "time": "2026-01-01T00:00:00Z", "planned": [r.id for r in records]}
    directory = RunDirectory.create(tmp_path / "run", begin)
    ledger = Journaling(directory)
    ledger.place(records[0].target, Risk.EXPENDABLE, {})
    ledger.keep_outputs(records[0].id, {"0.0": OUTPUT})
    for record in records:
        ledger.record(record)
    ledger.finish(RunEnding.COMPLETE, [], [])
    directory.close()
    return directory


def packed(**members):
    data = {
        "ending": {"worker": "w", "address": "a"},
        "entries": [],
        "payloads": {},
        "files": {},
        **members,
    }
    return zstandard.compress(json.dumps(data).encode())


def test_a_run_directory_comes_back(kept):
    parcel = unpack(pack(ENDING, kept.path))
    assert parcel.ending == ENDING
    assert parcel.history == History.of(kept.entries())
    outputs = [name for names in parcel.history.outputs.values() for name in names.values()]
    assert [*map(parcel.payload, outputs)] == [OUTPUT]


def test_what_a_search_found_comes_back_without_programs(kept):
    folder = kept.path / "finds" / "crash-1"
    folder.mkdir(parents=True)
    for name in ("find.txt", "reduced.json", "reproducer.c"):
        (folder / name).write_text(name)
    files = {"finds/crash-1/find.txt": "find.txt", "finds/crash-1/reduced.json": "reduced.json"}
    assert unpack(pack(ENDING, kept.path)).files == files


def test_a_shard_that_did_not_begin_has_no_history(tmp_path):
    assert unpack(pack(ENDING, tmp_path / "none")).history is None


def nested():
    return zstandard.compress(b'{"ending":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def too_large():
    """A frame that says that it has 2 GiB; see RFC 8878, 3.1.1.1."""
    return b"\x28\xb5\x2f\xfd\xe0" + (2 << 30).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text", "not bytes"),
        (b"not compressed", "result"),
        (zstandard.compress(b"[]"), "result"),
        (nested(), "nested"),
        (too_large(), "more than"),
        (packed(ending={"worker": 7, "address": "a"}), r"\$\.ending\.worker"),
        (packed(entries=[{"type": "unheard of"}]), "unheard of"),
        (packed(entries=[{"type": "result", "record": {}}]), "malformed"),
        (packed(entries=["text"]), "result"),
        (packed(payloads={"0" * 64: "YQ=="}), "SHA-256"),
        (packed(payloads={"0" * 64: "?"}), "result"),
        (packed(payloads=[]), "result"),
        (packed(files={"finds/../../x/find.txt": ""}), "not one that a search has"),
        (packed(files={"finds/a/reproducer.c": "int main;"}), "not one that a search has"),
        (packed(files={"finds/a/find.txt": 7}), "not one that a search has"),
    ],
)
def test_what_is_not_a_parcel_is_refused(content, message):
    with pytest.raises(ScenarioError, match=message):
        unpack(content)


def test_a_payload_that_did_not_come_is_named():
    with pytest.raises(ScenarioError, match="abc: missing"):
        unpack(packed()).payload("abc")
