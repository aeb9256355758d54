"""Which moves a matrix makes."""

from itertools import combinations, product

import pytest

from kvmprobe.moves.planning import every_move, pairwise
from kvmprobe.moves.restoring import Into

KERNELS, CPUS, ORDERS = ["a", "b", "c", "d"], ["x", "y", "z"], list("opqrst")
INTOS = list(Into)


def factors(planned):
    return (*planned.source, *planned.target, planned.order, planned.into)


@pytest.mark.parametrize(
    ("kernels", "cpus", "orders", "intos"),
    [
        (KERNELS, CPUS, ORDERS, INTOS),
        (["a", "b"], ["x"], ["o"], [Into.NEW]),
        (["a"], ["x"], ["o"], INTOS),
    ],
)
def test_each_pair_of_values_is_there(kernels, cpus, orders, intos):
    values = (kernels, cpus, kernels, cpus, orders, intos)
    rows = [factors(one) for one in pairwise(kernels, cpus, orders, intos)]
    for one, other in combinations(range(len(values)), 2):
        found = {(row[one], row[other]) for row in rows}
        assert found == set(product(values[one], values[other]))


def test_they_are_few_and_the_same_each_time():
    first = pairwise(KERNELS, CPUS, ORDERS, INTOS)
    assert first == pairwise(KERNELS, CPUS, ORDERS, INTOS)
    every = every_move(KERNELS, CPUS, ORDERS, INTOS)
    assert len(first) < 50 < len(every)
    assert list(first) == sorted(first, key=every.index)


def test_all_moves_are_each_there_once():
    every = every_move(KERNELS, CPUS, ORDERS, INTOS)
    assert len(every) == len(set(every)) == (4 * 3) ** 2 * 6 * 2
