"""The graph of a search: equal states are one; each is entered without a panic if possible."""

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.hazard import fatal_step
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.guest_control import GuestXgetbv
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.search.graph import Builder, Part, Way, scenario_of
from kvmprobe.search.starts import STARTS
from kvmprobe.xstate.features import DYNAMIC, XTILE
from tests.support.hosts import AMX_HOST, AVX512_HOST

START = (*STARTS["vcpu"].ops, SetCpuid2(Table.FULL))
NOTHING = SetXcrs(0)  # XCR0 without x87 is refused


def graph(*calls, depth, host=AMX_HOST, start=START):
    builder = Builder(host, start, calls)
    for _ in range(depth):
        builder.deepen(lambda done, of: None)
    return builder.graph


def test_two_orders_of_calls_that_commute_lead_to_one_state():
    found = graph(SetXcrs(7), SetXfd(DYNAMIC), depth=2)
    one, other = found.levels[1]
    (last,) = [n for n in found.levels[2] if {type(op) for op in n.path} == {SetXcrs, SetXfd}]
    into = [e.way for n in (one, other) for e in n.edges if e.target is last]
    assert sorted(way.name for way in into) == ["JOIN", "TREE"]


@pytest.mark.parametrize("call", [NOTHING, GetFpu()])
def test_a_call_that_is_refused_or_only_reads_changes_nothing(call):
    (edge,) = graph(call, depth=1).root.edges
    assert (edge.way, edge.target) == (Way.LOOP, edge.source)


def test_the_states_of_a_level_have_paths_of_that_length():
    found = graph(SetXcrs(7), SetXsave(XTILE), SetXfd(DYNAMIC), depth=3)
    assert [{node.depth for node in level} for level in found.levels] == [{0}, {1}, {2}, {3}]


def test_each_transition_is_in_one_part_with_all_others_to_its_state():
    found = graph(SetXcrs(7), SetXsave(XTILE), SetXfd(DYNAMIC), NOTHING, depth=3)
    parts = [Part(number, 3) for number in (1, 2, 3)]
    edges = [edge for node in found.nodes for edge in node.edges]
    owners = {id(e): [part for part in parts if part.makes(e)] for e in edges}
    assert {len(of) for of in owners.values()} == {1}
    assert all(part.makes(e) == part.has(e.target) for e in edges for part in parts if e.target)
    assert len({of[0] for of in owners.values()}) == len(parts)


def test_each_call_leaves_each_state_once():
    calls = SetXcrs(7), SetXsave(0), SetXfd(DYNAMIC), NOTHING
    found = graph(*calls, depth=2)
    assert all(
        [e.op for e in sorted(n.edges, key=lambda e: calls.index(e.op))] == list(calls)
        for level in found.levels[:2]
        for n in level
    )


def test_a_state_is_entered_by_calls_that_no_known_defect_makes_fatal_if_there_are_any():
    found = graph(SetXsave(XTILE), SetXfd(DYNAMIC), RunImmediateExit(), RunUntilHalt(), depth=3)
    runs = ModelRuns(AMX_HOST)

    def dies(calls):
        scenario = scenario_of("", [(op,) for op in (*START, *calls)])
        return fatal_step(scenario, runs.with_defects(DEFECTS)) is not None

    dangerous = [e for n in found.nodes for e in n.edges if e.hazardous]
    assert dangerous
    assert all(dies((*edge.source.path, edge.op)) for edge in dangerous)
    for node in found.levels[-1]:
        entries = [e for n in found.levels[-2] for e in n.edges if e.target is node]
        assert node.entry.hazardous == all(edge.hazardous for edge in entries)


def test_a_call_that_is_never_possible_has_the_reason():
    found = graph(GuestXgetbv(0), SetXcrs(7), depth=1)
    assert list(found.never()) == [GuestXgetbv(0)]
    assert "payload" in found.never()[GuestXgetbv(0)]


def test_a_start_that_the_model_cannot_judge_is_refused():
    with pytest.raises(ScenarioError, match="vcpu0"):
        Builder(AMX_HOST, (SetXcrs(1),), ())


@pytest.mark.parametrize("name", STARTS)
def test_every_call_of_a_start_is_possible_somewhere(name):
    start = STARTS[name]
    assert graph(*start.calls(AMX_HOST), depth=1, start=start.ops).never() == {}


def test_a_host_without_amx_has_a_start():
    start = STARTS["no-permission"]
    assert graph(*start.calls(AVX512_HOST), depth=1, host=AVX512_HOST, start=start.ops).levels[1]
