"""Points of a search: few, the last one among them, and read as they were written."""

from itertools import pairwise

import pytest

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.execution.journaling import Journaling
from kvmprobe.execution.place import Risk
from kvmprobe.results.growth import Growing, Point, Strategy
from kvmprobe.results.record import Target
from kvmprobe.results.run_directory import JOURNAL, RunDirectory
from kvmprobe.results.run_document import read_run

LAB = Target("lab", "7.3.4", "a package")
BEGIN = {"run_id": "1", "tool": "t", "command": [], "boot_id": "b", "time": "", "planned": []}


def at(seconds, sequences=0):
    return Point(seconds, sequences, 20 * sequences, 7, 8)


def written(points):
    kept = []
    growing = Growing(kept.append)
    for point in points:
        growing.take(point)
    return kept, growing


@pytest.fixture
def directory(tmp_path):
    opened = RunDirectory.create(tmp_path / "run", BEGIN)
    yield opened
    opened.close()


def test_an_hour_of_batches_of_three_seconds_has_few_points():
    kept, _ = written([at(3.0 * number) for number in range(1, 1201)])
    assert len(kept) < 300


def test_early_points_are_all_written():
    points = [at(3.0 * number) for number in range(1, 20)]
    assert written(points)[0] == points


def test_between_two_points_is_little_of_the_time():
    kept, _ = written([at(3.0 * number) for number in range(1, 1201)])
    assert all(later.seconds <= 1.03 * one.seconds + 3 for one, later in pairwise(kept))


def test_the_end_is_written_once():
    kept, growing = written([at(100), at(101)])
    growing.end()
    growing.end()
    assert kept == [at(100), at(101)]


def test_a_search_that_ran_nothing_has_no_point():
    kept, growing = written([])
    growing.end()
    assert kept == []


def test_points_come_back_from_a_runs_directory(directory):
    ledger = Journaling(directory)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    for point in (at(1.5, 64), at(3.25, 128)):
        ledger.grew(Strategy.UNGUIDED, point)
    ((target, growth),) = read_run(directory.path).growth.items()
    assert (target, growth.strategy) == (LAB, Strategy.UNGUIDED)
    assert growth.points == [at(1.5, 64), at(3.25, 128)]


def test_a_cut_line_loses_only_its_point(directory):
    ledger = Journaling(directory)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    for point in (at(1.5), at(3.25)):
        ledger.grew(Strategy.GUIDED, point)
    journal = directory.path / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-5])
    assert read_run(directory.path).growth[LAB].points == [at(1.5)]


@pytest.mark.parametrize(
    ("written", "hostile"),
    [
        ('"strategy":"guided"', '"strategy":"<b>"'),
        ('"seconds":1.5', '"seconds":-1'),
        ('"seconds":1.5', '"seconds":Infinity'),
        ('"sequences":64', '"sequences":"64"'),
        ('"transitions":7', f'"transitions":{10**30}'),
    ],
)
def test_a_hostile_point_is_refused(directory, written, hostile):
    ledger = Journaling(directory)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    ledger.grew(Strategy.GUIDED, at(1.5, 64))
    journal = directory.path / JOURNAL
    assert written in journal.read_text()
    journal.write_text(journal.read_text().replace(written, hostile))
    with pytest.raises(UsageError, match=str(directory.path)):
        read_run(directory.path)


def test_what_writing_raises_ends_the_search():
    def full(_point):
        raise RunDirectoryError("no space")

    with pytest.raises(RunDirectoryError, match="no space"):
        Growing(full).take(at(1))
