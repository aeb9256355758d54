"""What a worker is told to run names its directories."""

from dataclasses import replace

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.fleet.orders import Order
from kvmprobe.fleet.worker import forget

ORDER = Order("3b0c-1", "f00d", "kvmprobe 0", ("run",), ("xcrs.a",), real=True)
ELSEWHERE = ["..", "../..", "/etc", "a/b", "", ".", "a\0b", "x" * 65]


def test_an_order_comes_back():
    assert Order.of(ORDER.text()) == ORDER


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("member", ["campaign", "shard"])
def test_a_directory_elsewhere_is_refused(member, name):
    with pytest.raises(ScenarioError, match="is no id of a run or shard"):
        Order.of(replace(ORDER, **{member: name}).text())


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_directory_elsewhere_is_not_removed(name):
    with pytest.raises(ScenarioError, match="is no id of a run or shard"):
        forget(name)
