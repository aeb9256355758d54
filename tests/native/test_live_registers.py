"""Calls made with live FPU registers: what a thread has stays, and a change of it is seen."""

from __future__ import annotations

import json
import subprocess

import pytest

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.bindings import host_cpu
from kvmprobe.checkers.session import Checkers
from kvmprobe.execution.driver import Driver, Request, Timing
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.scenarios import relations
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.permission import GetGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.xstate.features import XFeature
from tests.support.live_faults import compiled
from tests.support.places import sequence

BASE = sequence(
    "live",
    GetGuestPermission(),
    OpenKvm(),
    CreateVm(),
    MapHalt(),
    CreateVcpu(),
    GetSupportedCpuid(),
    SetCpuid2(Table.NO_AMX),
    SetXsave(7),
    RunImmediateExit(),
    RunUntilHalt(),
    GetXsave2(),
    SetFpu(FpuContent.FIRST),
    GetFpu(),
)
# SDM vol.1 §13.4: MXCSR is at byte 24, XMM1 at 176; the upper half of YMM2 is 32 bytes into YMM.
FAULTS = {"mxcsr": 24, "fcw": 0, "xmm": 177}
YMM = XFeature.YMM.bit
FAULTS_OF_YMM = {"ymm": 576 + 33}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("live"))


def seen(program, fault, whose="caller"):
    """What the observer reports: by member of the line, position of the call and offset."""
    ended = subprocess.run([program, fault, whose], capture_output=True, text=True, check=True)
    line = json.loads(ended.stdout)
    found = {member: line.get(member, []) for member in ("h", "o")}
    return {member: [c[:2] for c in changes] for member, changes in found.items() if changes}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_register_that_a_call_changes_is_reported(program, fault):
    assert seen(program, fault) == {"h": [[3, FAULTS[fault]]]}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_register_of_the_competing_process_that_changes_is_reported(program, fault):
    assert seen(program, fault, "competitor") == {"o": [[3, FAULTS[fault]]]}


@pytest.mark.parametrize("fault", FAULTS_OF_YMM)
def test_an_avx_register_that_a_call_changes_is_reported(program, fault):
    if not host_cpu.xcr0() & YMM:
        pytest.skip("the processor has no AVX")
    assert seen(program, fault) == {"h": [[3, FAULTS_OF_YMM[fault]]]}


def test_a_call_that_changes_nothing_is_not_reported(program):
    assert seen(program, "none") == {}


def traces(host, *scenarios):
    with LocalLink() as link:
        requests = [Request(scenario, gate=1) for scenario in scenarios]
        return [trace for _, trace in Driver(link, Timing()).traces(requests, host)]


@pytest.fixture(scope="module")
def live(examined):
    """The base and its twins with live registers, with their traces."""
    twins = [relations.derive(BASE, f"host-live-{how}") for how in ("all", "init", "pkru-0")]
    scenarios = [BASE, *twins]
    return list(zip(scenarios, traces(examined.profile, *scenarios), strict=True))


@pytest.mark.kvm
def test_the_registers_stay_during_each_call(live):
    changed = [
        (scenario.id, step.ops[number].text, reply.changes)
        for scenario, trace in live
        for step, got in zip(scenario.steps, trace.steps, strict=True)
        for number, reply in enumerate(got.replies)
        if reply.changes
    ]
    assert changed == []


@pytest.mark.kvm
def test_the_results_are_those_of_a_thread_without_live_registers(live, examined):
    checkers = Checkers(examined.profile)
    found = [checkers.across(scenario, trace, ()) for scenario, trace in live]
    assert found == [(), (), (), ()]


@pytest.mark.kvm
def test_a_twin_with_live_registers_is_run_with_them(live):
    assert [scenario.registers for scenario, _ in live] == [
        HostRegisters.AS_THEY_ARE,
        HostRegisters.ALL_LIVE,
        HostRegisters.ALL_INIT,
        HostRegisters.PKRU_INIT,
    ]
