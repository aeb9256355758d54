"""The run directory of a search on another machine is written from what its worker returned."""

import json

import pytest

from kvmprobe.cli.received import write_received
from kvmprobe.errors import ScenarioError
from kvmprobe.fleet.parcel import Ending, Parcel
from kvmprobe.results.growth import Growth, Point, Strategy
from kvmprobe.results.history import History
from kvmprobe.results.run_directory import JOURNAL
from kvmprobe.results.run_document import Ending as RunEnding
from kvmprobe.results.run_document import read_run
from kvmprobe.scenarios.document import from_document, to_document
from tests.support.fake_runs import run_of, some_scenarios

(SCENARIO,) = some_scenarios(1)
(RECORD,) = run_of("7.3.4", [SCENARIO]).records
BEGIN = {"type": "begin", "boot_id": "b", "time": "2026-01-01T00:00:00Z", "planned": []}
FIND = "finds/crash-1/"
POINT = Point(1.0, 20, 200, 30)


def parcel(**files):
    names = {f"{FIND}{name.replace('__', '.')}": text for name, text in files.items()}
    history = History(
        BEGIN,
        BEGIN,
        end={"complete": True, "notes": ["a note"]},
        records={(RECORD.target, RECORD.id): RECORD},
        outputs={(RECORD.target, RECORD.id): {}},
        facts={RECORD.target: "f"},
        growth={RECORD.target: Growth(Strategy.GUIDED, [POINT])},
    )
    return Parcel(Ending("one", "tls://10.0.0.7:4000"), history, {}, names)


def written(tmp_path, **files):
    write_received(tmp_path / "seed-5", parcel(**files), {"f": {}})
    return tmp_path / "seed-5"


def test_it_is_a_run(tmp_path):
    run = read_run(written(tmp_path))
    assert (run.records, run.ending) == ((RECORD,), RunEnding.COMPLETE)
    assert run.notes == ("a note",)


def test_how_it_grew_is_kept(tmp_path):
    lines = (written(tmp_path) / JOURNAL).read_text().splitlines()
    (grew,) = [entry for entry in map(json.loads, lines) if entry["type"] == "growth"]
    assert grew["point"]["sequences"] == POINT.sequences


def test_the_program_comes_from_the_reduced_sequence(tmp_path):
    other = to_document(some_scenarios(2)[1])
    folder = written(tmp_path, original__json=other, reduced__json=to_document(SCENARIO)) / FIND
    assert from_document((folder / "reduced.json").read_bytes()) == SCENARIO
    assert SCENARIO.id in (folder / "reproducer.c").read_text()


def test_control_characters_do_not_reach_a_text(tmp_path):
    folder = written(tmp_path, find__txt="a\x1b[2Jb\nc\n") / FIND
    assert (folder / "find.txt").read_text() == "a\ufffd[2Jb\nc\n"


@pytest.mark.parametrize("files", [{"find__json": "{"}, {"reduced__json": "{}"}])
def test_what_is_no_document_is_refused(tmp_path, files):
    with pytest.raises(ScenarioError):
        written(tmp_path, **files)
