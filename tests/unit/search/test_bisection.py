"""Bisection over kernels that are not there: what is tested, and what it says in the end."""

import math

import pytest

from kvmprobe.search.bisection import Bisection, Seen

BAD, GOOD, UNTESTABLE = Seen.BAD, Seen.GOOD, Seen.UNTESTABLE


def kernels(count):
    return tuple(f"6.12.{number}" for number in range(count))


def bisected(found, results):
    """Test what is asked for; returns the bisection and the kernels in the order of the tests."""
    tested = []
    while (kernel := found.next) is not None:
        assert kernel not in tested
        tested.append(kernel)
        found = found.with_result(kernel, results[kernel])
    return found, tested


def fixed_in(rungs, first):
    """What kernels are of which ``first`` has the fix; the other way round for a regression."""
    return {k: GOOD if number >= first else BAD for number, k in enumerate(rungs)}


@pytest.mark.parametrize("count", [2, 3, 4, 11, 16, 17])
def test_the_first_fixed_one_is_found_wherever_it_is(count):
    rungs = kernels(count)
    for first in range(1, count):
        found, tested = bisected(Bisection(rungs, bad_first=True), fixed_in(rungs, first))
        assert (found.last_bad, found.first_good) == (rungs[first - 1], rungs[first])
        assert {found.last_bad, found.first_good} <= set(tested)
        # The bad end, a choice among count - 1 places, and the good end if it is the first.
        assert len(tested) <= 1 + math.ceil(math.log2(count - 1)) + (first == count - 1)
        assert len(tested) <= found.most_tests


def test_the_first_bad_one_is_found_as_well():
    rungs = kernels(11)
    results = {k: BAD if number >= 7 else GOOD for number, k in enumerate(rungs)}
    found, tested = bisected(Bisection(rungs, bad_first=False), results)
    assert (found.first_good, found.last_bad) == (rungs[6], rungs[7])
    assert tested[0] == rungs[-1]


def test_a_kernel_that_cannot_be_tested_is_passed_over():
    rungs = kernels(11)
    results = {**fixed_in(rungs, 9), rungs[5]: UNTESTABLE}
    found, _ = bisected(Bisection(rungs, bad_first=True), results)
    assert (found.last_bad, found.first_good, found.untestable_between) == (rungs[8], rungs[9], ())


@pytest.mark.parametrize("bad_first", [True, False])
def test_those_between_the_two_sides_that_cannot_be_tested_are_named_in_order(bad_first):
    rungs = kernels(6)
    ends = (BAD, GOOD) if bad_first else (GOOD, BAD)
    results = dict(zip(rungs, (ends[0], *[UNTESTABLE] * 3, ends[1], ends[1]), strict=True))
    found, _ = bisected(Bisection(rungs, bad_first=bad_first), results)
    assert found.untestable_between == rungs[1:4]
    assert {found.last_bad, found.first_good} == {rungs[0], rungs[4]}


@pytest.mark.parametrize("seen", [GOOD, UNTESTABLE])
def test_nothing_more_is_tested_if_the_bad_end_is_not_bad(seen):
    rungs = kernels(5)
    found, tested = bisected(Bisection(rungs, bad_first=True), dict.fromkeys(rungs, seen))
    assert (tested, found.contradiction) == ([rungs[0]], rungs[0])


def test_a_good_end_that_is_bad_is_found_out():
    rungs = kernels(5)
    found, _ = bisected(Bisection(rungs, bad_first=True), dict.fromkeys(rungs, BAD))
    assert found.contradiction == rungs[-1]
