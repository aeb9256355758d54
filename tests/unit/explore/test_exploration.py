"""What a search keeps of what its machines did, on a fake kernel with chosen defects."""

from dataclasses import replace

import pytest

from kvmprobe.execution.judging import Judging
from kvmprobe.explore.exploration import Exploration
from kvmprobe.explore.visits import Visit
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.progress import Silent
from kvmprobe.results.record import Target
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.sregs import GetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.search.explored import together
from kvmprobe.search.graph import Builder, Part, scenario_of
from kvmprobe.search.starts import STARTS
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST

START = (*STARTS["vcpu"].ops, SetCpuid2(Table.FULL))
CALLS = (SetFpu(FpuContent.FIRST), SetXcrs(7), GetFpu())
READ_BACK = (GetXsave2(), GetXcrs())
FOREVER = float("inf")
XSTATE_BV = 512
KERNEL = "7.3.4"
ALL = Part()


def graph_of(*calls, start=START):
    builder = Builder(AMX_HOST, start, calls)
    builder.deepen(lambda done, of: None)
    builder.deepen(lambda done, of: None)
    return builder.graph


@pytest.fixture
def graph():
    return graph_of(*CALLS)


def visits(graph, *behaviours, reads=READ_BACK, spoil=None):
    """Yield one visit for each transition.

    :param reads: what reads the state behind it
    :param spoil: changes the trace of a transition
    """
    for node in graph.nodes:
        for edge in node.edges:
            steps = [(op,) for op in (*graph.start, *node.path)] + [(edge.op, *reads)]
            scenario = scenario_of("explore", steps)
            trace = trace_of(scenario, AMX_HOST, *behaviours)
            yield Visit(
                node, (edge,), edge.target, scenario, spoil(edge, trace) if spoil else trace
            )


def watched(graph, found, deadline=FOREVER, part=ALL):
    exploration = Exploration(graph, part, Judging(AMX_HOST, Target("lab", KERNEL, "")), Silent())
    exploration.watch(found, deadline)
    return exploration


def with_reads(trace, change):
    """Return the trace with the outputs of its last step changed."""
    last = trace.steps[-1]
    replies = (last.replies[0], *(Reply(r.result, change(r.output)) for r in last.replies[1:]))
    return replace(trace, steps=(*trace.steps[:-1], replace(last, replies=replies)))


def test_nothing_fails_on_a_correct_kernel(graph):
    found = watched(graph, visits(graph))
    explored = found.explored(KERNEL, "vcpu")
    assert (found.failures, explored.complete) == ({}, True)
    assert explored.made == explored.transitions == sum(len(n.edges) for n in graph.nodes)


def test_the_shortest_calls_that_show_a_known_defect_are_kept(graph):
    found = watched(graph, visits(graph, Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV))
    (failure,) = found.failures.values()
    assert failure.known == ("O2",)
    assert failure.transitions > 1
    assert [step.op for step in failure.scenario.steps] == [*START, CALLS[0]]


def test_a_failure_that_no_known_defect_explains_has_a_signature(graph):
    def spoil(edge, trace):
        return with_reads(trace, lambda out: out[:40] + b"\x55" + out[41:])

    found = watched(graph, visits(graph, spoil=spoil))
    assert found.failures
    assert all(failure.known == () for failure in found.failures.values())


def test_time_that_is_up_leaves_transitions(graph):
    explored = watched(graph, visits(graph), deadline=0.0).explored(KERNEL, "vcpu")
    assert (explored.complete, explored.made) == (False, 1)


def test_parts_count_together_what_one_counts_alone(graph):
    whole = watched(graph, visits(graph)).explored(KERNEL, "vcpu")
    parts = []
    for part in (Part(1, 2), Part(2, 2)):
        mine = [visit for visit in visits(graph) if part.makes(visit.edges[0])]
        parts.append(watched(graph, mine, part=part).explored(KERNEL, "vcpu"))
    levels = [replace(level, seconds=0.0) for level in together(parts).levels]
    assert levels == [replace(level, seconds=0.0) for level in whole.levels]
    assert (parts[0].made < whole.made, together(parts).complete) == (True, True)


def test_without_one_of_its_parts_a_search_is_not_complete(graph):
    part = watched(graph, visits(graph), part=Part(1, 2)).explored(KERNEL, "vcpu")
    assert (part.complete, together([part]).complete) == (True, False)


def test_what_a_part_makes_on_its_way_is_judged_and_not_counted(graph):
    made = visits(graph, Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV)
    (way,) = [v for v in made if v.node is graph.root and v.edges[0].op == CALLS[0]]
    (part,) = [part for part in (Part(1, 2), Part(2, 2)) if not part.makes(way.edges[0])]
    found = watched(graph, [way], part=part)
    (failure,) = found.failures.values()
    assert (failure.known, failure.transitions) == (("O2",), 0)
    assert found.explored(KERNEL, "vcpu").made == 0


def test_what_lies_behind_a_crash_is_counted(graph):
    kept = [visit for visit in visits(graph) if visit.node is graph.root]
    explored = watched(graph, kept).explored(KERNEL, "vcpu")
    assert explored.behind_crash == explored.transitions - len(kept) > 0


def test_what_the_model_does_not_look_at_reads_equal_in_equal_states():
    # Without this a checker compares it as well.
    unread = graph_of(*CALLS, start=[op for op in START if op != GetSregs()])

    def spoil(edge, trace):
        if edge.op != GetFpu():
            return trace
        return with_reads(trace, lambda out: out[:-1] + bytes([out[-1] ^ 1]))

    found = watched(unread, visits(unread, reads=(GetSregs(),), spoil=spoil))
    (failure,) = found.failures.values()
    assert failure.signature.where == ("KVM_GET_SREGS",)


def test_a_state_may_read_differently_in_bits_that_are_legal_either_way():
    run = RunImmediateExit()  # XINUSE of x87 and SSE, in INIT state, may be either afterwards
    built = graph_of(run, SetXcrs(0))

    def spoil(edge, trace):
        def flipped(image):
            return image[:XSTATE_BV] + bytes([image[XSTATE_BV] ^ 1]) + image[XSTATE_BV + 1 :]

        is_behind = run in edge.source.path and edge.op != run
        return with_reads(trace, flipped) if is_behind else trace

    found = watched(built, visits(built, reads=(GetXsave2(),), spoil=spoil))
    assert (found.failures, found.explored(KERNEL, "").open_states) == ({}, 1)
