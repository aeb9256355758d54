"""Coverage in a run's directory, and in a file."""

import json

import pytest

from kvmprobe.coverage.coverage_file import read_file, to_text
from kvmprobe.coverage.of_run import coverage_of_directory
from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.execution.journaling import Journaling
from kvmprobe.execution.place import Risk
from kvmprobe.results.record import Target
from kvmprobe.results.run_directory import JOURNAL, RunDirectory
from kvmprobe.results.run_document import read_run
from tests.support.covered_code import FUNCTIONS, bits

LAB = Target("lab", "7.3.4", "a package")
HOST = Target("host", "6.18", "running")
BEGIN = {"run_id": "1", "tool": "t", "command": [], "boot_id": "b", "time": "", "planned": []}


@pytest.fixture
def directory(tmp_path):
    opened = RunDirectory.create(tmp_path / "run", BEGIN)
    yield opened
    opened.close()


def test_each_scenarios_blocks_come_back(directory):
    ledger = Journaling(directory)
    ledger.watches(FUNCTIONS)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    ledger.reached("first", bits(0, 1))
    ledger.reached("second", bits(0, 3))
    ((target, measured),) = coverage_of_directory(directory.path).items()
    assert target == LAB
    assert measured.by_scenario == {"first": 0b0011, "second": 0b1001}
    assert measured.first_by == {0: "first", 1: "first", 3: "second"}


def test_a_scenario_that_was_repeated_has_the_blocks_of_both(directory):
    ledger = Journaling(directory)
    ledger.watches(FUNCTIONS)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    ledger.reached("s", bits(0))
    ledger.reached("s", bits(1))
    (measured,) = coverage_of_directory(directory.path).values()
    assert measured.by_scenario == {"s": 0b11}


def test_a_later_attempt_adds_to_it_and_one_without_coverage_does_not(directory):
    for watched, number in ((True, 0), (False, 1), (True, 2)):
        ledger = Journaling(directory)
        if watched:
            ledger.watches(FUNCTIONS)
        ledger.place(LAB, Risk.EXPENDABLE, {})
        ledger.reached(f"s{number}", bits(number))
    (measured,) = coverage_of_directory(directory.path).values()
    assert measured.by_scenario == {"s0": 1, "s2": 4}


def test_a_real_host_beside_it_has_none(directory):
    ledger = Journaling(directory)
    ledger.place(HOST, Risk.REAL, {})
    ledger.watches(FUNCTIONS)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    assert list(coverage_of_directory(directory.path)) == [LAB]


def test_a_cut_line_loses_only_its_scenario(directory):
    ledger = Journaling(directory)
    ledger.watches(FUNCTIONS)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    ledger.reached("first", bits(0))
    ledger.reached("second", bits(1))
    journal = directory.path / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-5])
    (measured,) = coverage_of_directory(directory.path).values()
    assert list(measured.by_scenario) == ["first"]


def test_a_damaged_set_is_refused(directory):
    ledger = Journaling(directory)
    ledger.watches(FUNCTIONS)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    ledger.reached("s", bits(0))
    journal = directory.path / JOURNAL
    journal.write_text(journal.read_text().replace('"blocks":"', '"blocks":"AAAA'))
    with pytest.raises(ScenarioError, match="coverage in the journal"):
        coverage_of_directory(directory.path)


def test_a_run_knows_whether_coverage_was_measured(directory):
    assert read_run(directory.path).covered_in is None
    Journaling(directory).watches(FUNCTIONS)
    assert read_run(directory.path).covered_in == directory.path


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        coverage_of_directory(tmp_path)


def test_a_programs_file_comes_back(tmp_path):
    path = tmp_path / "file"
    path.write_text(to_text(LAB, FUNCTIONS, "a b", bits(0, 2)))
    ((target, measured),) = read_file(path).items()
    assert (target, measured.by_scenario) == (LAB, {"a b": 0b101})


@pytest.mark.parametrize("change", [{"schema": "kvmprobe-coverage/0"}, {"reached": {"a": "?"}}])
def test_a_file_of_another_version_or_damaged_is_refused(tmp_path, change):
    path = tmp_path / "file"
    content = json.loads(to_text(LAB, FUNCTIONS, "a", bits(0))) | change
    path.write_text(json.dumps(content))
    with pytest.raises(ScenarioError, match=str(path)):
        read_file(path)
