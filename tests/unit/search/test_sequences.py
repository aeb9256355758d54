"""Sequences of a search are within the domain, and the same for the same chance."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.results.growth import Strategy
from kvmprobe.scenarios.document import check_domain, from_document, to_document
from kvmprobe.scenarios.need import ANYWHERE, Need
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.relations.reads import source
from kvmprobe.search.guidance import Guidance
from kvmprobe.search.keepers import keepers
from kvmprobe.search.sequences import Sequences
from kvmprobe.search.values import CatalogueValues, ModelValues

HOST = sapphire_rapids()
VALUES = [ModelValues, CatalogueValues]


def guidance(seed, values=ModelValues, strategy=Strategy.GUIDED):
    random = Random(seed)
    return Guidance(random, Sequences(HOST, random, values(HOST, random)), strategy)


def batches(seed, count, values=ModelValues):
    search = guidance(seed, values)
    return [s for nr in range(count) for s in search.batch(f"fuzz.{seed}", 16 * nr, 16)]


@pytest.mark.parametrize("values", VALUES, ids=lambda values: values.__name__)
def test_new_ones_and_variations_are_documents_that_come_back_as_they_were(values):
    for scenario in batches(1, 3, values):
        check_domain(scenario, HOST)
        assert from_document(to_document(scenario).encode()) == scenario


def test_the_same_seed_makes_the_same():
    assert batches(7, 3) == batches(7, 3)


def test_another_seed_makes_others():
    one, other = (batches(seed, 1) for seed in (1, 2))
    assert not {s.steps for s in one} & {s.steps for s in other}


def test_ids_are_numbered_through():
    assert [s.id for s in batches(3, 2)] == [f"fuzz.3.{nr}" for nr in range(32)]


def test_observers_only_read():
    random = Random(1)
    sequences = Sequences(HOST, random, ModelValues(HOST, random))
    made = [sequences.new("a").scenario for _ in range(100)]
    observers = {op for s in made for step in s.steps for op in step.observers}
    assert {op.interface.split("_")[1] for op in observers} == {"GET"}


def test_a_quarter_of_them_end_with_an_entry_into_the_guest():
    random = Random(2)
    sequences = Sequences(HOST, random, ModelValues(HOST, random))
    last = [sequences.new("a").scenario.steps[-1].op.interface for _ in range(100)]
    assert last.count("KVM_RUN") >= 25


def new_ones(count, missing=ANYWHERE):
    random = Random(1)
    sequences = Sequences(HOST, random, ModelValues(HOST, random), missing)
    return [sequences.new("a").scenario for _ in range(count)]


def ops_made(values, count):
    random = Random(1)
    sequences = Sequences(HOST, random, values(HOST, random))
    return {op.name for _ in range(count) for _, op in sequences.new("a").scenario.ops()}


# They need tokens, addresses, capabilities and structures that fit together, or remove what others
# need.
RARE = {
    "close",
    "enable-cap",
    "guest-clrssbsy",
    "guest-enter-l2",
    "guest-rstorssp",
    "guest-setssbsy",
    "guest-switch-stacks",
    "guest-wrss",
    "limit-descriptors",
    "restore-listed-msrs",
    "set-sregs-literal",
    "set-sregs2-literal",
}


@pytest.mark.parametrize("values", VALUES, ids=lambda values: values.__name__)
def test_every_op_comes_up_but_rare_ones(values):
    assert set(registry()) - ops_made(values, 1800) <= RARE


def test_what_is_written_back_was_kept_before():
    made = new_ones(200)
    restores = [op for s in made for _, op in s.ops() if op.interface == "KVM_SET_SREGS"]
    assert len(restores) > 20


def test_a_sequence_needs_nothing_that_the_target_lacks():
    missing = frozenset({Need.NESTED_VMX, Need.PRIVILEGE})
    assert not frozenset().union(*(s.needs for s in new_ones(200, missing))) & missing


def test_a_second_vcpu_comes_up():
    names = {getattr(op, "vcpu", "") for s in new_ones(200) for _, op in s.ops()}
    assert {"vcpu0", "vcpu1"} <= names


def test_every_output_that_can_be_written_back_has_an_op_that_keeps_it():
    written_back = {source(op) for s in new_ones(400) for _, op in s.ops()} - {""}
    assert len(written_back) > 10
    assert written_back <= keepers().keys()


def test_a_cover_reaches_all_that_was_reached():
    search = guidance(4)
    for nr in range(4):
        search.batch("fuzz", 16 * nr, 16)
    reached = frozenset().union(*(entry.reached for entry in search.entries.values()))
    cover = search.smallest_cover()
    assert frozenset().union(*(entry.reached for entry in cover)) == reached
    assert len(cover) < len(search.entries)


def test_a_sequence_that_reached_a_new_block_is_varied():
    search = guidance(5)
    first, second, *_ = search.batch("fuzz", 0, 4)
    assert search.reached(first.id, 0b11)
    assert not search.reached(second.id, 0b10)
    assert (search.block_count, search.entries[first.id].blocks) == (2, 0b11)


def test_without_guidance_what_was_reached_changes_nothing():
    one, other = (guidance(8, strategy=Strategy.UNGUIDED) for _ in range(2))
    first = [search.batch("fuzz", 0, 16) for search in (one, other)]
    for scenario in first[0]:
        one.reached(scenario.id, 0b1)
    assert one.batch("fuzz", 16, 16) == other.batch("fuzz", 16, 16)


def test_with_guidance_it_does():
    one, other = (guidance(8) for _ in range(2))
    first = [search.batch("fuzz", 0, 16) for search in (one, other)]
    for number, scenario in enumerate(first[0]):
        one.reached(scenario.id, 1 << number)
    assert one.batch("fuzz", 16, 64) != other.batch("fuzz", 16, 64)


def from_corpus(*scenarios):
    search = guidance(6)
    search.start_with(scenarios)
    return search, search.batch("fuzz", 0, len(scenarios))


ONE, OTHER = (s for s in guidance(7).batch("corpus", 0, 2))


def test_a_corpus_runs_first():
    search, batch = from_corpus(ONE, OTHER)
    assert batch == [ONE, OTHER]
    assert not {ONE.id, OTHER.id} & {s.id for s in search.batch("fuzz", 2, 4)}


def test_what_of_a_corpus_reaches_nothing_of_its_own_is_superfluous():
    search, _ = from_corpus(ONE, replace(ONE, id="again"))
    search.reached(ONE.id, 0b111)
    search.reached("again", 0b011)
    assert [s.id for s in search.superfluous()] == ["again"]


def test_nothing_is_superfluous_if_no_blocks_are_known():
    search, _ = from_corpus(ONE, replace(ONE, id="again"))
    assert search.superfluous() == []
