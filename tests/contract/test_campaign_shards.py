"""Shards of the whole catalogue with its blind twins: no pair that is compared is divided."""

import pytest

from kvmprobe.checkers.companions import companions, compared
from kvmprobe.cli.campaign import parts
from kvmprobe.cli.derived import expanded, listing
from kvmprobe.cli.grammar.choices import Observe
from kvmprobe.cli.select import all_ids
from kvmprobe.cli.traits import catalogue
from tests.support.hosts import AMX_HOST


@pytest.fixture(scope="module")
def planned():
    return expanded(all_ids(), Observe.BOTH, [])


@pytest.fixture(scope="module")
def shards_of(planned):
    together = [*compared((t.scenario for t in catalogue()), planned)]
    return lambda workers: [*parts(together, workers)]


@pytest.mark.parametrize("workers", [1, 8])
def test_each_scenario_is_in_one_shard(planned, shards_of, workers):
    shards = shards_of(workers)
    assert sorted(name for shard in shards for name in shard) == sorted(planned)


def test_what_is_compared_is_in_one_shard(planned, shards_of):
    scenarios = {s.id: s for s in listing(planned)(AMX_HOST)}
    planned = [name for name in planned if name in scenarios]
    divided = []
    for shard in shards_of(workers=3):
        inside = [scenarios[name] for name in shard]
        others = [scenarios[name] for name in set(planned) - set(shard)]
        divided += [(shard[0], other.id) for other in companions(inside, others)]
    assert divided == []


def test_each_worker_has_several_shards(shards_of):
    assert len(shards_of(workers=8)) >= 16
