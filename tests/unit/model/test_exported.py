"""The image of a guest whose calls are made by a thread with a given PKRU."""

from __future__ import annotations

import pytest

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.image import xstate_bv_of
from kvmprobe.xstate.patterns import PKRU_PATTERN
from tests.support.hosts import AMX_HOST, with_behaviours

PKRU = XFeature.PKRU.bit
DEFECTIVE = with_behaviours(AMX_HOST, Behaviour.PKRU_BIT_OF_CALLER)
START = (OpenKvm(), CreateVm(), CreateVcpu(), GetSupportedCpuid(), SetCpuid2(Table.NO_AMX))
OTHERS = [registers for registers in HostRegisters if registers is not HostRegisters.PKRU_INIT]


def pkru_read(host, registers, *ops):
    """The guest's PKRU in the last image; None if XSTATE_BV lacks it."""
    steps = tuple(ScenarioStep(op) for op in (*START, *ops, GetXsave2()))
    *_, last = ModelRun(host).walk(Scenario("a.b", "b", "", steps, registers=registers))
    image = last.step.outcome.image.image
    place = host.layout.component(XFeature.PKRU).offset
    there = xstate_bv_of(image) & PKRU
    return int.from_bytes(image[place : place + 4], "little") if there else None


# SDM vol.1 13.6: PKRU of 0 is its initial state, of which XSAVES stores XSTATE_BV[9]=0.
@pytest.mark.parametrize(
    ("host", "expected"), [(AMX_HOST, PKRU_PATTERN), (DEFECTIVE, None)], ids=["correct", "O7"]
)
def test_pkru_of_the_guest_is_read_whatever_the_callers_is(host, expected):
    ops = (SetXsave(PKRU), RunImmediateExit())
    assert pkru_read(host, HostRegisters.PKRU_INIT, *ops) == expected


@pytest.mark.parametrize("registers", OTHERS, ids=lambda registers: registers.name)
def test_another_pkru_of_the_caller_hides_nothing(registers):
    assert pkru_read(DEFECTIVE, registers, SetXsave(PKRU), RunImmediateExit()) == PKRU_PATTERN


def test_pkru_that_was_not_saved_since_it_was_set_is_read():
    assert pkru_read(DEFECTIVE, HostRegisters.PKRU_INIT, SetXsave(PKRU)) == PKRU_PATTERN
