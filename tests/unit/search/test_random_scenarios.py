"""Random scenarios are within the domain, and the same for the same chance."""

from random import Random

import pytest

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.document import check_domain, from_document, to_document
from kvmprobe.scenarios.ops import registry
from kvmprobe.search.random_scenarios import Generator

HOST = sapphire_rapids()


@pytest.mark.parametrize("seed", range(5))
def test_each_is_a_document_that_comes_back_as_it_was(seed):
    scenario = Generator(HOST, Random(seed)).scenario("random.a")
    check_domain(scenario, HOST)
    assert from_document(to_document(scenario).encode()) == scenario


def test_the_same_seed_makes_the_same():
    one, other = (Generator(HOST, Random(7)).scenario("random.a") for _ in range(2))
    assert one == other


def test_every_op_comes_up():
    generator = Generator(HOST, Random(1))
    found = {op.name for n in range(800) for _, op in generator.scenario(f"random.{n}").ops()}
    assert set(registry()) - found == set()
