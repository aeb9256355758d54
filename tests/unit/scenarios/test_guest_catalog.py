"""What the families `guest` and `migrate` cover."""

import struct

import pytest

from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_migration import MSR_LISTS, Part
from kvmprobe.model.machine import Machine
from kvmprobe.scenarios.calls import RunGuest
from kvmprobe.scenarios.catalog import guest, migration, nested_guest
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.scenarios.scenario import Need
from tests.support.guests import answers
from tests.support.hosts import AMX_HOST, AVX512_HOST, PROFILES

FAMILIES = {"guest": guest, "migrate": migration, "nested": nested_guest}
BY_HOST = {
    name: [s for family in FAMILIES.values() for s in family.scenarios(host)]
    for name, host in PROFILES.items()
}
EVERY = BY_HOST["amx"]
# They raise #MF and #XM, of which the contract says nothing; SPIN is for calls during KVM_RUN.
NOT_USED = {PayloadOp.FSQRT, PayloadOp.SQRTPS, PayloadOp.SPIN}
each_family = pytest.mark.parametrize("family", FAMILIES)


def commands(scenario):
    for _, op in scenario.ops():
        if isinstance(op, GuestOp):
            yield op


def told(scenario):
    """(instruction, exception vector) of each command."""
    machine = Machine.fresh(AMX_HOST)
    for _, op in scenario.ops():
        step = op.step(machine)
        if isinstance(op, GuestOp):
            yield op.mnemonic.split()[0], answers(step.outcome)[0].fields["vector"]
        machine = step.machine


@pytest.fixture(scope="module")
def seen():
    return {pair for scenario in EVERY for pair in told(scenario)}


@each_family
def test_ids_are_the_same_on_every_host(family):
    ids = [[s.id for s in FAMILIES[family].scenarios(h)] for h in (AMX_HOST, AVX512_HOST)]
    assert ids[0] == ids[1]


@each_family
def test_it_needs_guest_code(family):
    found = FAMILIES[family].scenarios(AMX_HOST)
    assert [s.id for s in found if Need.GUEST_CODE not in s.needs] == []


@each_family
def test_some_of_it_runs_without_amx(family):
    assert any(Need.AMX not in s.needs for s in FAMILIES[family].scenarios(AVX512_HOST))


def test_every_command_of_the_payload_is_used():
    used = set()
    for scenario in EVERY:
        for op in commands(scenario):
            call = op.lower(AMX_HOST)
            assert isinstance(call, RunGuest)
            used.add(PayloadOp(struct.unpack_from("<I", call.command)[0]))
    assert set(PayloadOp) - used == NOT_USED


@pytest.mark.parametrize(
    "instruction",
    [
        "TILELOADD",
        "TILESTORED",
        "TILEZERO",
        "TDPBSSD",
        "XRSTOR",
        "XRSTORS",
        "FNOP",
        "FXSAVE",
        "STMXCSR",
        "XSAVE",
        "XSAVES",
    ],
)
def test_nm_of(instruction, seen):
    assert (instruction, 7) in seen


@pytest.mark.parametrize(
    "instruction",
    ["XGETBV(0)", "XSETBV(0)", "XSAVE", "XSAVES", "XRSTORS", "LDTILECFG", "TILELOADD", "RDPKRU"],
)
def test_ud_of(instruction, seen):
    assert (instruction, 6) in seen


@pytest.mark.parametrize(
    "instruction",
    [
        "XSETBV(0)",
        "XSETBV(1)",
        "XSETBV",
        "XGETBV(2)",
        "RDMSR",
        "WRMSR",
        "LDTILECFG",
        "LDMXCSR",
        "FXRSTOR",
        "XSAVE",
        "XRSTOR",
        "XRSTORS",
        "WRPKRU",
        "MOV",
    ],
)
def test_gp_of(instruction, seen):
    assert (instruction, 13) in seen


def test_a_correct_kernel_survives_all_of_it():
    model_runs = ModelRuns(AMX_HOST)
    assert [s.id for s in EVERY if first_hazard(s, model_runs, frozenset())] == []


def test_only_the_open_defect_makes_a_guests_own_tiles_fatal():
    # live correction 12
    suspected = frozenset({Behaviour.XFD_WRITE_KEEPS_XSTATE_BV})
    model_runs = ModelRuns(AMX_HOST)
    fatal = [s.id for s in EVERY if first_hazard(s, model_runs, suspected)]
    assert fatal == ["guest.lost-armed-by-host.tiles"]


@pytest.mark.parametrize("name", migration.ORDERS)
def test_an_order_restores_what_a_guest_needs(name):
    parts = list(migration.ORDERS[name])
    assert len(set(parts)) == len(parts)
    # One list of MSRs, the one with IA32_XFD.
    assert set(Part) - (set(MSR_LISTS) - {Part.MSRS}) == set(parts)


def test_all_six_orders_of_image_xcr0_and_xfd_are_tried():
    places = {
        tuple(p for p in order if p in {"xsave", "xcrs", "msrs"})
        for order in migration.ORDERS.values()
    }
    assert len(places) == 6
