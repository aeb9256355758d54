"""known-bugs B1 and O1: which orders end in a panic, by their triggers.

B1: SET_MSRS(XFD) then SET_XSAVE; O1: SET_XSAVE then SET_MSRS(XFD).  Both need permission, and
CPUID with tiles before either call; XCR0 plays no part.
"""

import pytest

from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.scenarios.catalog import restore
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from tests.support.hosts import AMX_HOST, with_behaviours

B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
B4 = Behaviour.XTILE_CFG_ADVERTISED_ALONE
AMX = restore.scenarios(AMX_HOST)
VARIANT = "perm-granted.xfd-armed.bv-tiles"
B1_ORDERS = {
    "cpuid-msrs-xsave-xcrs",
    "cpuid-msrs-xcrs-xsave",
    "cpuid-xcrs-msrs-xsave",
    "xcrs-cpuid-msrs-xsave",
}
O1_ORDERS = {
    "cpuid-xsave-msrs-xcrs",
    "cpuid-xsave-xcrs-msrs",
    "cpuid-xcrs-xsave-msrs",
    "xcrs-cpuid-xsave-msrs",
}


def ids(orders):
    columns = (VARIANT, f"{VARIANT}.xcr0-1", f"{VARIANT}.xcr0-7")
    restores = {f"restore.{order}.{column}" for order in orders for column in columns}
    return restores | {f"kick.{o}.{VARIANT}" for o in orders if o.startswith("cpuid")}


def flagged(*suspected):
    model_runs = ModelRuns(AMX_HOST)
    return {s.id for s in AMX if first_hazard(s, model_runs, frozenset(suspected))}


@pytest.mark.parametrize(
    ("suspected", "orders"),
    [((), set()), ((B1,), B1_ORDERS), ((O1,), O1_ORDERS), ((B1, O1), B1_ORDERS | O1_ORDERS)],
    ids=["none", "B1", "O1", "B1+O1"],
)
def test_exactly_the_triggering_orders_are_hazardous(suspected, orders):
    assert flagged(*suspected) == ids(orders)


def test_a_defect_of_cpuid_endangers_no_host():
    assert flagged(B4) == set()


def test_a_variant_is_no_hazard():
    assert flagged(Behaviour.KNOWS_APX) == set()


def scenario(order):
    return next(s for s in AMX if s.id == f"restore.{order}.{VARIANT}")


def test_the_hazard_is_the_last_step():
    found = first_hazard(scenario("cpuid-msrs-xsave-xcrs"), ModelRuns(AMX_HOST), frozenset({B1}))
    assert found.step == len(scenario("cpuid-msrs-xsave-xcrs").steps) - 1


@pytest.mark.parametrize(
    ("order", "defect"),
    [("cpuid-msrs-xsave-xcrs", B1), ("cpuid-xsave-msrs-xcrs", O1)],
    ids=["B1", "O1"],
)
def test_only_the_defects_that_suffice_are_blamed(order, defect):
    assert first_hazard(scenario(order), ModelRuns(AMX_HOST), DEFECTS).defects == {defect}


def test_defects_found_on_the_host_are_blamed_like_suspected_ones():
    # Preflight puts what it found into the profile's behaviours and among the suspected.
    host = with_behaviours(AMX_HOST, B1, O1)
    found = first_hazard(scenario("cpuid-msrs-xsave-xcrs"), ModelRuns(host), frozenset({B1, O1}))
    assert found.names == "SET_XSAVE_KEEPS_XFD_ARMED"


def test_the_reason_names_the_component():
    found = first_hazard(scenario("cpuid-msrs-xsave-xcrs"), ModelRuns(AMX_HOST), frozenset({B1}))
    assert "XTILE_DATA" in found.reason
