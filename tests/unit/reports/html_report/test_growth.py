"""Searches beside each other and beside other runs: compared only where that has a meaning."""

from kvmprobe.coverage.functions import KernelFunctions
from kvmprobe.coverage.measured import Measured
from kvmprobe.reports.html_report.coverage import Covered
from kvmprobe.reports.html_report.growth import growths
from kvmprobe.results.growth import Growth, Point, Strategy
from kvmprobe.results.record import ScenarioRecord, Target
from kvmprobe.results.run_document import RunDocument
from kvmprobe.results.verdict import Verdict
from tests.support.covered_code import FUNCTIONS

LAB, OTHER = Target("lab", "7.3.4", "a package"), Target("lab", "6.12.95", "a package")
NO_FUNCTIONS = KernelFunctions(())


def search(name, *counts, target=LAB, strategy=Strategy.GUIDED):
    points = [Point(60.0 * n, 100 * n, 2000 * n, 10 * n, blocks) for n, blocks in counts]
    return RunDocument("t", (), name=name, growth={target: Growth(strategy, points)})


def catalogue(name, target=LAB):
    return RunDocument("t", (), (ScenarioRecord("s.a", "", "", target, Verdict.PASS),), name=name)


def covered(run, reached, target=LAB, functions=FUNCTIONS):
    return Covered(run, target, Measured.of(functions, {"s": reached}))


GUIDED = search("guided", (1, 1), (10, 3))
UNGUIDED = search("unguided", (1, 1), (10, 2), strategy=Strategy.UNGUIDED)
CATALOGUE = catalogue("catalogue")
ALL = [
    covered(GUIDED, 0b0000111),
    covered(UNGUIDED, 0b0100011),
    covered(CATALOGUE, 0b0010001),
]


def titles(kernel):
    return [(picture.title.split()[0], picture.across) for picture in kernel.pictures]


def test_what_only_one_run_reached_is_counted():
    (kernel,) = growths([GUIDED, UNGUIDED, CATALOGUE], ALL)
    assert [(side.name, side.blocks, side.only_here) for side in kernel.sides] == [
        ("guided", 3, 1),
        ("unguided", 3, 1),
        ("catalogue", 2, 1),
    ]
    assert (kernel.total, kernel.by_any, kernel.by_all) == (7, 5, 1)


def test_searches_are_curves_and_other_runs_are_levels():
    (kernel,) = growths([GUIDED, UNGUIDED, CATALOGUE], ALL)
    assert titles(kernel) == [
        ("blocks", "minutes"),
        ("blocks", "sequences"),
        ("transitions", "minutes"),
        ("transitions", "sequences"),
    ]
    assert [len(kernel.pictures[n].lines) for n in range(4)] == [3, 3, 2, 2]


def test_a_run_has_the_same_style_in_each_picture():
    (kernel,) = growths([CATALOGUE, GUIDED], [ALL[2], ALL[0]])
    styles = [[style for style, _ in picture.lines] for picture in kernel.pictures]
    assert styles == [[0, 1], [0, 1], [1], [1]]


def test_without_coverage_there_are_transitions():
    (kernel,) = growths([search("s", (1, 0), (2, 0))], [])
    assert titles(kernel) == [("transitions", "seconds"), ("transitions", "sequences")]


def test_runs_without_a_search_have_none():
    assert growths([CATALOGUE], ALL[2:]) == []


def test_another_kernel_has_pictures_of_its_own():
    other = search("other", (1, 1), target=OTHER)
    found = growths([GUIDED, other], [ALL[0], covered(other, 1, OTHER)])
    assert [[side.name for side in kernel.sides] for kernel in found] == [["guided"], ["other"]]


def test_blocks_of_another_list_are_not_compared():
    apart = catalogue("apart")
    given = [ALL[0], covered(apart, 0, functions=NO_FUNCTIONS)]
    (kernel,) = growths([GUIDED, apart], given)
    assert kernel.apart == ("apart",)
    assert [side.name for side in kernel.sides] == ["guided"]
    assert (kernel.sides[0].only_here, len(kernel.pictures[0].lines)) == (3, 1)


def test_a_search_with_another_list_keeps_its_transitions():
    apart = search("apart", (1, 1), (2, 1))
    given = [ALL[0], covered(apart, 0, functions=NO_FUNCTIONS)]
    (kernel,) = growths([GUIDED, apart], given)
    assert [side.blocks for side in kernel.sides] == [3, None]
    assert [len(picture.lines) for picture in kernel.pictures] == [1, 1, 2, 2]
