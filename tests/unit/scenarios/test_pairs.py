"""Both orders of each pair of restore calls; what they return is the contract's ordering matrix."""

from __future__ import annotations

from errno import EBUSY, EINTR, EINVAL, EPERM

import pytest

from kvmprobe.scenarios.catalog import pairs
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST, AVX512_HOST

ALL = {(s.row, s.column): s for s in pairs.scenarios(AMX_HOST)}
OPS = {name: call.op for name, call in pairs._calls(AMX_HOST).items()}
FD = 7


def results(first, second):
    """What the two calls return on a correct kernel."""
    scenario = ALL[first, second]
    trace = trace_of(scenario, AMX_HOST)
    by_op = {s.op: t.replies[0].result for s, t in zip(scenario.steps, trace.steps, strict=True)}
    return by_op[OPS[first]], by_op[OPS[second]]


def test_every_pair_is_there_in_both_orders():
    made = {pair for pair in ALL if pair[0] != "advertised"}
    assert {(second, first) for first, second in made} == made


def test_each_call_is_made_once():
    for (first, second), scenario in ALL.items():
        if first != "advertised":
            ops = [step.op for step in scenario.steps]
            assert (ops.count(OPS[first]), ops.count(OPS[second])) == (1, 1), scenario.id


def test_the_first_comes_first():
    for (first, second), scenario in ALL.items():
        if first != "advertised":
            ops = [step.op for step in scenario.steps]
            assert ops.index(OPS[first]) < ops.index(OPS[second]), scenario.id


def test_two_restore_calls_stand_side_by_side():
    for (first, second), scenario in ALL.items():
        if not {"advertised", "perm", "vm", "vcpu"} & {first, second}:
            ops = [step.op for step in scenario.steps]
            assert ops.index(OPS[second]) == ops.index(OPS[first]) + 1, scenario.id


# Contract §9, column "rc"; SET_MSRS tells how many entries it processed.
MATRIX = {
    ("perm", "vm"): (0, FD),
    ("vm", "perm"): (FD, 0),
    ("perm", "vcpu"): (0, FD),
    ("vcpu", "perm"): (FD, -EBUSY),
    ("perm", "cpuid"): (0, 0),
    ("cpuid", "perm"): (-EPERM, -EBUSY),
    ("xcr0", "perm"): (-EINVAL, -EBUSY),
    ("xfd", "perm"): (0, -EBUSY),
    ("tiles", "perm"): (-EINVAL, -EBUSY),
    ("legacy", "perm"): (0, -EBUSY),
    ("kick", "perm"): (-EINTR, -EBUSY),
    ("cpuid", "xcr0"): (0, 0),
    ("xcr0", "cpuid"): (-EINVAL, 0),
    ("cpuid", "xfd"): (0, 1),
    ("xfd", "cpuid"): (0, 0),
    ("cpuid", "tiles"): (0, 0),
    ("tiles", "cpuid"): (-EINVAL, 0),
    ("cpuid", "legacy"): (0, 0),
    ("legacy", "cpuid"): (0, 0),
    ("cpuid-no-amx", "legacy"): (0, 0),
    ("legacy", "cpuid-no-amx"): (0, 0),
    ("cpuid", "run"): (0, 0),
    ("run", "cpuid"): (0, -EINVAL),
    ("kick", "cpuid"): (-EINTR, 0),
    ("xcr0", "xfd"): (0, 1),
    ("xfd", "xcr0"): (1, 0),
    ("xcr0", "tiles"): (0, 0),
    ("tiles", "xcr0"): (0, 0),
    ("xcr0", "osxsave"): (0, 0),
    ("osxsave", "xcr0"): (0, 0),
    ("xfd", "tiles"): (1, 0),
    ("tiles", "xfd"): (0, 1),
    ("xfd", "osxsave"): (1, 0),
    ("osxsave", "xfd"): (0, 1),
    ("tiles", "osxsave"): (0, 0),
    ("osxsave", "tiles"): (0, 0),
    ("tiles", "run"): (0, 0),
    ("run", "tiles"): (0, 0),
    ("osxsave", "run"): (0, 0),
    ("run", "osxsave"): (0, 0),
}


@pytest.mark.parametrize(("pair", "expected"), MATRIX.items(), ids=["-".join(p) for p in MATRIX])
def test_it_returns_what_the_ordering_matrix_says(pair, expected):
    assert results(*pair) == expected


def test_ids_are_the_same_on_a_host_without_amx():
    assert [s.id for s in pairs.scenarios(AVX512_HOST)] == [s.id for s in ALL.values()]


def test_nothing_is_loaded_after_tiles_and_an_armed_xfd():
    # With O1 or B1 that load would be a panic: the read-back tells, no crash is needed.
    for scenario in ALL.values():
        names = [step.op.name for step in scenario.steps]
        assert not {"set-xfd", "set-xsave", "run-until-halt"} <= set(names), scenario.id
