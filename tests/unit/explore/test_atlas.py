"""The atlas of a fake kernel: what the order of two calls matters for."""

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.execution.judging import Judging
from kvmprobe.explore.atlas import Pairs
from kvmprobe.explore.visits import Visit
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.atlas import atlas_lines, atlas_page, changed_lines, order_text
from kvmprobe.results.record import Crash, Target
from kvmprobe.results.trace import End
from kvmprobe.search.atlas import FILE, Atlas, OneOrder, Order
from kvmprobe.search.graph import scenario_of
from kvmprobe.search.pairs import calls, graph, reads, starts
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST

KERNEL = "7.3.4"
EVERY = calls(AMX_HOST)
STARTS = starts(AMX_HOST)
O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV


def cells(names, *behaviours, start="cpuid"):
    """The cells of these calls in one start, on a kernel with these behaviours, by both names."""
    made = {name: EVERY[name] for name in names}
    pairs = Pairs(made, Judging(AMX_HOST, Target("lab", KERNEL, "")))
    behind = graph(AMX_HOST, STARTS[start], list(made.values()))
    visits = [
        visit_of(node, edge, start, behaviours) for node in behind.nodes for edge in node.edges
    ]
    pairs.watch(start, reads(start), visits)
    return pairs.cells


def visit_of(node, edge, start, behaviours):
    before = [(op,) for op in (*STARTS[start], *node.path)]
    scenario = scenario_of("explore", [*before, (edge.op, *reads(start))])
    trace = trace_of(scenario, AMX_HOST, *behaviours)
    died = trace.end is End.LOST
    crash = Crash(0, None, "Oops", "restore_fpregs_from_fpstate", (), "") if died else None
    return Visit(node, (edge,), edge.target, scenario, trace, crash)


def atlas(found):
    names = dict.fromkeys(name for pair in found for name in pair)
    texts = {name: EVERY[name].text for name in names}
    return Atlas(KERNEL, texts, {"cpuid": []}, tuple(found.values()))


def test_calls_about_different_state_commute():
    assert cells(("regs", "xcr0-x87"))["regs", "xcr0-x87"].order is Order.COMMUTES


def test_the_later_of_two_writers_wins():
    assert cells(("xcr0-all", "xcr0-x87"))["xcr0-all", "xcr0-x87"].order is Order.LAST_WINS


def test_a_call_that_needs_another_one_answers_otherwise_before_it():
    # Without CPUID, XCR0 may have x87 alone (contract: KVM_SET_XCRS).
    found = cells(("cpuid", "xcr0-all"), start="vcpu")["cpuid", "xcr0-all"]
    assert (found.order, found.start) == (Order.ANSWERS, "vcpu")
    assert [each.results for each in found.orders] == [(0, 0), (-22, 0)]


def test_tiles_that_one_order_keeps_show_as_silent():
    # KVM_SET_XSAVE with XFD armed leaves XTILE_DATA out; with a defect, the other order keeps it.
    found = cells(("xfd-armed", "xsave-tiles"), O1)["xfd-armed", "xsave-tiles"]
    assert (found.order, found.known) == (Order.SILENT, ("O1",))
    assert found.differs == ("KVM_GET_XSAVE2",)


def test_an_order_that_kills_the_host_is_fatal():
    found = cells(("xfd-armed", "kick"), O1, start="tiles")["xfd-armed", "kick"]
    assert (found.order, found.known) == (Order.FATAL, ("O1",))


def test_a_pair_that_no_start_allows_is_untried():
    assert cells(("regs", "lapic"))["regs", "lapic"].order is Order.UNTRIED


def test_a_larger_start_replaces_a_cell_only_if_it_tells_more():
    made = {name: EVERY[name] for name in ("cpuid", "xcr0-all")}
    pairs = Pairs(made, Judging(AMX_HOST, Target("lab", KERNEL, "")))
    for start in ("vcpu", "cpuid"):
        behind = graph(AMX_HOST, STARTS[start], list(made.values()))
        visits = [visit_of(n, edge, start, ()) for n in behind.nodes for edge in n.edges]
        pairs.watch(start, reads(start), visits)
    assert pairs.cells["cpuid", "xcr0-all"].start == "vcpu"


def test_an_atlas_reads_as_it_was_written(tmp_path):
    found = atlas(cells(("xfd-armed", "xsave-tiles", "xcr0-all"), O1))
    (tmp_path / FILE).write_text(found.to_json())
    assert Atlas.read(tmp_path) == found


@pytest.mark.parametrize("content", ["", "[]", '{"format": "kvmprobe atlas 0"}', '{"cells": 1}'])
def test_what_is_no_atlas_is_refused(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UsageError, match=FILE):
        Atlas.read(tmp_path)


def test_the_table_has_a_sign_for_each_pair():
    lines = list(atlas_lines(atlas(cells(("xcr0-all", "xcr0-x87", "xfd-armed")))))
    assert [line.split()[1:] for line in lines[:3]] == [["\\"], ["=", "\\"], [".", ".", "\\"]]


def test_the_page_links_the_programs_of_a_pair_that_is_not_plain():
    page = atlas_page(atlas(cells(("xfd-armed", "xsave-tiles"), O1)))
    assert 'href="cells/xfd-armed.xsave-tiles.2.c"' in page


def test_two_kernels_differ_in_the_pairs_whose_order_does_something_else():
    names = ("xfd-armed", "xsave-tiles", "xcr0-all")
    bad, good = atlas(cells(names, O1)), atlas(cells(names))
    assert len(list(changed_lines(bad, good))) == 2
    assert list(changed_lines(bad, bad)) == []


def test_how_many_msrs_were_taken_is_shown():
    # Documentation/virt/kvm/api.rst, KVM_SET_MSRS: the number of entries that were written
    taken, refused = (order_text(OneOrder("a", "xss", (0, count))) for count in (1, 0))
    assert (taken, refused) == ("a=0, xss=1", "a=0, xss=0")
