"""Whatever is sent to a worker or kept in a report reads back as it was."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmprobe.execution.packed import pack, unpack
from kvmprobe.execution.wire import bytes_from_wire, bytes_to_wire
from kvmprobe.scenarios.ops import decode, encode, registry
from kvmprobe.scenarios.orders import restore_orders
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from tests.property.strategies import op_values

u64 = st.integers(0, (1 << 64) - 1)
u32 = st.integers(0, (1 << 32) - 1)
names = st.text(max_size=12)
content = st.binary(max_size=300)


@given(content | st.binary(max_size=40).map(lambda some: bytes(9).join([some, bytes(40), some])))
def test_bytes_read_back_from_a_word(given_bytes):
    assert bytes_from_wire(bytes_to_wire(given_bytes)) == given_bytes


@given(content)
def test_packed_bytes_read_back(given_bytes):
    assert unpack(pack(given_bytes)) == given_bytes


# A hundred ops of six kinds of fields: 4,000 examples in all.
@pytest.mark.parametrize("name", sorted(registry()))
@settings(max_examples=40)
@given(st.data())
def test_an_op_reads_back_from_json(name, data):
    value = data.draw(op_values(registry()[name]))
    assert decode(json.loads(json.dumps(encode(value)))) == value


@given(st.lists(st.builds(CpuidEntry, u32, u32, u32, u32, u32, u32, u32), max_size=20), content)
def test_a_cpuid_table_reads_back_whatever_follows_it(entries, behind):
    table = CpuidTable(tuple(entries))
    assert CpuidTable.from_bytes(table.to_bytes() + behind) == table


@given(st.lists(names, unique=True, min_size=1, max_size=4))
def test_each_order_occurs_exactly_once(given_names):
    anchor, *rest = given_names
    orders = restore_orders(rest, anchor)
    assert len(orders) == len(set(orders))
    assert set(orders) == {*permutations(rest), *permutations(given_names)}
