"""The text of whole programs."""

import pytest

from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.repro.ended import Ended, Result
from kvmprobe.repro.pieces import loads_guest_fpu
from kvmprobe.repro.program import file_name, program
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import MapPayload
from kvmprobe.scenarios.ops.guest_control import GuestXgetbv
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import AccessCetMsr, GetXfd
from kvmprobe.scenarios.ops.one_reg import GetOneReg
from kvmprobe.scenarios.ops.permission import GetPermission
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.hosts import AVX512_HOST

HOST = sapphire_rapids()
CATALOG = {scenario.id: scenario for scenario in catalog.scenarios(HOST)}
O1 = CATALOG["restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"]


def text(*ops, host=HOST):
    steps = tuple(ScenarioStep(op) for op in ops)
    return program(Scenario("x.y", "x", "y", steps), host)


def test_head_says_how_to_build_and_what_the_exit_status_means():
    head = program(O1, HOST).partition("#define")[0]
    assert "cc -std=gnu11 -O2 -Wall -Wextra -Werror -static" in head
    assert all(f" {status} " in head for status in (0, 1, 2))
    assert "(kvmprobe's O1, open)" in " ".join(head.split())


def test_a_hazardous_program_stops_before_the_load_unless_told_to_go_on():
    written = program(O1, HOST)
    before, _, after = written.partition("static long run_vcpu(void)")
    assert "if (load_is_fatal(vcpu0))" in after.partition("KVM_RUN")[0]
    assert "[--go-on]" in before


def test_a_program_is_written_for_a_host_that_first_offers_cet():
    name = "guest.cet-xsaves-host.cet"
    assert f" * {name}\n" in program(CATALOG[name], HOST)


def test_a_program_that_loads_nothing_has_no_gate():
    assert "[--go-on]" not in text(OpenKvm(), CreateVm())


def test_a_program_for_a_host_without_amx_has_no_gate():
    fpu = CATALOG["fpu.set.first"]
    assert "load_is_fatal" not in program(fpu, AVX512_HOST)


def test_constants_have_the_kernels_names():
    written = program(O1, HOST)
    assert "{ .index = MSR_IA32_XFD, .data = XFEATURE_MASK_XTILE_DATA }" in written
    assert "KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2" in written
    assert "#ifndef KVM_GET_XSAVE2" in written


def test_each_step_tells_the_rule_and_its_source():
    assert "XFD[i]=1 clears XSTATE_BV[i]" in program(O1, HOST)


def test_no_image_is_an_array_of_bytes():
    assert program(O1, HOST).count("0x") < 400


def test_what_makes_a_program_differ_is_the_scenario_alone():
    assert program(O1, HOST) == program(O1, HOST)


@pytest.mark.parametrize("name", ["checks", "int", "close", "EXIT", "9", "a-b"])
def test_names_of_a_scenario_cannot_clash_with_the_programs(name):
    written = text(OpenKvm(), CreateVm(name), SpawnTask(name, Relation.THREAD), GetPermission(name))
    assert f"static int {name} = -1" not in written or name == "EXIT"


@pytest.mark.parametrize(
    ("op", "loads"),
    [
        (RunImmediateExit(), True),
        (AccessCetMsr(), True),
        (GetXfd(), False),
        (GetOneReg(0x2030_0002_0000_06A0), True),
        (GetOneReg(0x2030_0002_0000_01C4), False),
    ],
)
def test_loads_of_the_guest_fpu_are_those_that_the_executor_watches(op, loads):
    # kvmprobe/abi/fpu_loads.py: KVM_RUN, and accesses to MSRs of CET.
    assert loads_guest_fpu(op.lower(HOST)) is loads


def test_file_is_named_for_the_scenario():
    assert file_name(CATALOG["fpu.set.first"]) == "fpu_set_first.c"


def test_arch_prctl_codes_are_named():
    assert ArchPrctlCode.GET_XCOMP_PERM.name in text(GetPermission())


def test_the_last_line_is_shown():
    assert Ended.of(1, "3 KVM_X = 0\nlast\n").last_line == "last"
    assert Ended.of(1, "").last_line == "it printed nothing"


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (0, Result.NOT_REPRODUCED),
        (1, Result.REPRODUCED),
        (2, Result.CANNOT_RUN),
        (139, Result.CANNOT_RUN),
        (-9, Result.CANNOT_RUN),
    ],
)
def test_exit_status_tells_the_result(status, result):
    assert Ended.of(status, "").result is result


def test_a_program_names_only_defects_that_must_show():
    # O3 may change what an image holds after the run here, within what is legal.
    head = program(O1, HOST).partition("#define")[0]
    assert "O3" not in head


def test_an_errno_has_its_name():
    # B4: without permission, XCR0[18:17] is refused.
    refused = CATALOG["restore.cpuid-xcrs-msrs-xsave.perm-none.xfd-zero.bv-zero"]
    assert 'XTILE_DATA)", ret, -EINVAL)' in program(refused, HOST)


def test_an_exit_reason_has_the_kernels_name():
    assert 'expect_value("exit_reason", u32_at(run_vcpu_out), KVM_EXIT_HLT, 0)' in program(O1, HOST)


def test_a_task_calls_the_function_that_the_process_calls():
    written = text(GetPermission(), SpawnTask("other", Relation.FORK), GetPermission("other"))
    assert written.count("ARCH_GET_XCOMP_PERM, ") == 1
    assert "ask(&task_other, ASK_GET_XCOMP_PERM)" in written


def test_citations_lack_the_numbers_of_a_list_that_readers_do_not_have():
    assert "INV-" not in program(O1, HOST)


def test_a_program_names_the_kernel_function_by_its_path():
    written = program(O1, HOST).replace("\n\t *", "")
    assert "arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf" in written


def test_only_a_program_with_guest_code_tries_a_guest():
    with_guest = program(CATALOG["guest.restored-image-xcr0-entry.plain"], HOST)
    without = program(CATALOG["system.msr-list.whole"], HOST)
    assert ("need_guest_code();" in with_guest, "guest_code" in without) == (True, False)


def test_the_payload_in_two_vms_has_one_variable():
    # A second one would be unused, which -Werror refuses.
    two = (CreateVm(), MapPayload(), CreateVm("vm1"), MapPayload("vm1"))
    written = text(OpenKvm(), *two, CreateVcpu(), SetCpuid2(Table.FULL), GuestXgetbv(0))
    assert written.count("static uint8_t *payload_memory") == 1
