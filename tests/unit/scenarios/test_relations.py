"""Derived scenarios: what they keep of their base, and by which ids they are found."""

from __future__ import annotations

import pytest

from kvmprobe.model.control import Cr4
from kvmprobe.scenarios import catalog, relations
from kvmprobe.scenarios.need import Need
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.hosts import AMX_HOST, AVX512_HOST

READS = (GetXcrs(), GetXfd())


def base(*steps, reads=READS):
    vcpu = tuple(ScenarioStep(op) for op in (OpenKvm(), CreateVm(), CreateVcpu()))
    return Scenario("test.row", "row", "", (*vcpu, *(ScenarioStep(op, reads) for op in steps)))


def reads_of(scenario):
    return [step.observers for step in scenario.steps if step.observers]


def test_a_blind_twin_reads_after_the_last_step_alone():
    twin = relations.derive(base(SetXcrs(1), SetXcrs(3)), "blind")
    assert (twin.id, reads_of(twin)) == ("test.row.blind", [READS])


def test_an_unread_scenario_reads_nothing():
    assert reads_of(relations.derive(base(SetXcrs(1)), "unread")) == []


def test_a_scenario_that_reads_once_has_no_blind_twin():
    assert relations.derive(base(SetXcrs(1)), "blind") is None


def test_a_read_whose_output_is_written_back_stays():
    # The second SET_SREGS writes what was read after the first one.
    reads = (GetXcrs(), GetSregs())
    sets = (GetSregs(), SetSregs(Cr4.OSFXSR.bit), SetSregs(0))
    twin = relations.derive(base(*sets, reads=reads), "blind")
    assert reads_of(twin) == [(GetSregs(),), (GetSregs(),), reads]


def test_the_steps_themselves_are_those_of_the_base():
    own = base(SetXcrs(1), SetXcrs(3))
    twin = relations.derive(own, "blind")
    assert [twin.steps[place].op for place in twin.derived.places] == [s.op for s in own.steps]


@pytest.mark.parametrize(
    "name", ["restore.cpuid-msrs-xcrs-xsave.perm-none.xfd-zero.bv-zero.blind", "sregs.run.cpuid"]
)
def test_a_scenario_is_found_by_its_id(name):
    assert relations.scenario(name, AMX_HOST).id == name


@pytest.mark.parametrize("name", ["sregs.run.cpuid.deaf", "no.such.blind", "blind", ""])
def test_what_does_not_exist_is_not_found(name):
    assert relations.scenario(name, AMX_HOST) is None


def test_no_scenario_of_the_catalogue_has_the_id_of_a_derived_one():
    assert [s.id for s in catalog.scenarios(AMX_HOST) if relations.base_id(s.id)] == []


def test_every_host_has_the_same_derived_ids():
    def derived(host):
        return [
            f"{scenario.id}.{suffix}"
            for scenario in catalog.scenarios(host)[::211]
            for derivation in relations.DERIVATIONS
            for suffix in derivation.suffixes(scenario)
        ]

    assert derived(AMX_HOST) == derived(AVX512_HOST)


def test_a_look_needs_what_the_read_needs():
    assert Need.NESTED_VMX in relations.derive(base(SetXcrs(1)), "look-nested-state").needs
