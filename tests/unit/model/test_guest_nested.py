"""A nested guest: what it shares with L1, what exits, and how it is moved."""

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_control import cpuid, nothing, ud2, write_cr4, wrpkru, xgetbv, xsetbv
from kvmprobe.model.guest_msr import rdmsr, wrmsr
from kvmprobe.model.guest_nested import enter_l2, not_enterable, vmcall
from kvmprobe.model.lifecycle import create_vcpu
from kvmprobe.model.msr import set_xfd
from kvmprobe.model.nested import (
    NO_ADDRESS,
    get_nested_state,
    not_restorable,
    restore_nested_state,
    save_nested_state,
)
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.scenarios.ops.guest_tiles import GuestLdtilecfg, GuestTileloadd
from tests.support.guests import (
    GP,
    NM,
    NONE,
    OSXSAVE,
    PKE,
    UD,
    edx_eax,
    in_payload,
    step,
    without_feature,
)
from tests.support.hosts import AMX_HOST, B18, VCPU, with_behaviours, with_fields

VMXE = 1 << 13
XFD, XFD_ERR = 0x1C4, 0x1C5
# SDM vol.3 appendix C "VMX Basic Exit Reasons"; kvmprobe/abi/payload.py: EXITED.
CPUID_EXIT, VMCALL_EXIT, XSETBV_EXIT, EXITED = 10, 18, 55, 0x102
E2BIG, EINVAL = 7, 22
DEFECT = Behaviour.NM_OF_L1_MISSED
NO_VMX = without_feature(1, 0, "ecx", 5)


def l1(*behaviours, **fields):
    host = with_behaviours(AMX_HOST, *behaviours)
    return in_payload(host=host, **{"cr4": 0x620 | OSXSAVE | PKE, **fields})


def l2(*behaviours, exceptions=0, **fields):
    return step(l1(*behaviours, **fields), enter_l2, rax=exceptions).machine


def fields(machine, instruction, value=0, ecx=0, rax=None):
    return step(machine, instruction, value, ecx, rax).outcome.fields


def vcpu(machine):
    return machine.vcpu(VCPU)


def after(machine, *ops):
    for op in ops:
        machine = op.step(machine).machine
    return machine


def test_an_entry_begins_vmx_operation_and_nothing_else():
    before, entered = vcpu(l1()), vcpu(l2())
    assert (entered.in_l2, entered.cr4) == (True, before.cr4 | VMXE)
    assert (entered.xcr0, entered.xfd, entered.pkru) == (before.xcr0, before.xfd, before.pkru)


def test_without_vmx_it_is_gp():
    assert fields(in_payload(NO_VMX), enter_l2)["vector"] == GP


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [(xsetbv, XSETBV_EXIT), (cpuid, CPUID_EXIT), (vmcall, VMCALL_EXIT)],
)
def test_an_instruction_that_exits_changes_nothing_else(instruction, reason):
    machine = l2()
    found = step(machine, instruction, 3)
    told = found.outcome.fields
    assert (told["vector"], told["error_code"], told["rax"]) == (EXITED, reason, 3)
    assert vcpu(found.machine)._replace(fpstate=None) == vcpu(machine)._replace(
        fpstate=None, in_l2=False
    )


def test_xsetbv_without_osxsave_is_ud_before_it_exits():
    assert fields(l2(cr4=0x620), xsetbv, 7)["vector"] == UD


@pytest.mark.parametrize("instruction", [nothing, xgetbv])
def test_others_are_executed_as_ever(instruction):
    assert fields(l2(), instruction)["vector"] == NONE


def test_an_exception_is_l2s_own_unless_it_exits():
    assert fields(l2(), ud2)["vector"] == UD
    told = fields(l2(exceptions=1 << UD), ud2)
    assert (told["vector"], told["error_code"]) == (EXITED, UD << 16)


@pytest.mark.parametrize(("exceptions", "level"), [(0, True), (1 << NM, False)])
def test_nm_of_l2_leaves_xfd_err_to_whoever_has_it(exceptions, level):
    machine = after(l2(exceptions=exceptions), GuestLdtilecfg())
    machine = step(machine, wrmsr, B18, XFD).machine
    machine = after(machine, GuestTileloadd())
    assert (vcpu(machine).in_l2, vcpu(machine).xfd_err) == (level, B18)
    assert edx_eax(step(machine, rdmsr, ecx=XFD_ERR).outcome) == B18


def test_what_l2_writes_l1_has():
    machine = step(l2(), wrpkru, 0xC).machine
    machine = step(machine, wrmsr, B18, XFD).machine
    machine = step(machine, vmcall).machine
    assert (vcpu(machine).pkru, vcpu(machine).xfd, vcpu(machine).in_l2) == (0xC, B18, False)


def test_in_vmx_operation_cr4_keeps_vmxe():
    machine = step(l2(), vmcall).machine
    assert fields(machine, write_cr4, 0x620 | OSXSAVE)["vector"] == GP
    assert fields(machine, write_cr4, 0x620 | OSXSAVE | VMXE)["vector"] == NONE


def nm_in_l1(machine):
    """The machine after TILELOADD in L1, where IA32_XFD was armed in L2."""
    return after(step(machine, vmcall).machine, GuestTileloadd())


def armed_in_l2(*behaviours, by_host=False):
    machine = after(l2(*behaviours), GuestLdtilecfg())
    if by_host:
        return set_xfd(machine, VCPU, B18).machine
    return step(machine, wrmsr, B18, XFD).machine


@pytest.mark.parametrize("by_host", [False, True])
def test_kvm_sees_nm_of_l1_although_xfd_was_armed_in_l2(by_host):
    machine = nm_in_l1(armed_in_l2(by_host=by_host))
    assert vcpu(machine).xfd_err == B18
    cleared = step(machine, wrmsr, 0, XFD_ERR).machine
    assert edx_eax(step(cleared, rdmsr, ecx=XFD_ERR).outcome) == 0


@pytest.mark.parametrize("by_host", [False, True])
def test_with_the_defect_kvm_misses_it_and_the_msr_keeps_it(by_host):
    machine = nm_in_l1(armed_in_l2(DEFECT, by_host=by_host))
    assert vcpu(machine).xfd_err == 0
    cleared = step(machine, wrmsr, 0, XFD_ERR).machine
    assert edx_eax(step(cleared, rdmsr, ecx=XFD_ERR).outcome) == B18


def test_with_the_defect_kvm_sees_it_where_l1_had_armed_xfd_before():
    machine = after(l1(DEFECT), GuestLdtilecfg())
    for value in (B18, 0):
        machine = step(machine, wrmsr, value, XFD).machine
    machine = step(step(machine, enter_l2).machine, wrmsr, B18, XFD).machine
    assert vcpu(nm_in_l1(machine)).xfd_err == B18


def test_with_the_defect_a_write_of_the_host_in_l1_ends_it():
    machine = set_xfd(nm_in_l1(armed_in_l2(DEFECT)), VCPU, B18).machine
    machine = after(machine, GuestTileloadd())
    assert (vcpu(machine).xfd_err, vcpu(machine).xfd_err_left) == (B18, 0)


@pytest.mark.parametrize(
    ("machine", "flags", "size"),
    [(l1(), 0, 128), (l2(), 1, 128 + 4096), (step(l2(), vmcall).machine, 0, 128 + 4096)],
)
def test_nested_state_has_the_vmcs_and_the_level(machine, flags, size):
    # Documentation/virt/kvm/api.rst: KVM_STATE_NESTED_GUEST_MODE is 1.
    found = get_nested_state(machine, VCPU, 1 << 14).outcome.fields
    assert (found["flags"], found["size"]) == (flags, size)
    assert (found["vmcs12_pa"] == NO_ADDRESS) == (size == 128)
    small = get_nested_state(machine, VCPU, size - 1).outcome
    assert small == Failed(E2BIG, {"size": size})


def moved(machine, **fields):
    """A machine with a second vCPU, and control registers as those of the first."""
    machine = save_nested_state(machine, VCPU).machine
    had = vcpu(machine)
    machine = create_vcpu(machine, "vcpu1", vcpu_id=1).machine
    registers = {"cr0": had.cr0, "cr4": had.cr4, "efer": had.efer, "cpuid": had.cpuid, **fields}
    return machine.with_vcpu("vcpu1", machine.vcpu("vcpu1")._replace(**registers))


def test_a_moved_vcpu_is_in_l2_and_has_none_of_its_fpu_state():
    machine = moved(step(l2(exceptions=1 << NM), wrmsr, B18, XFD).machine)
    restored = restore_nested_state(machine, "vcpu1", VCPU)
    there, had = restored.machine.vcpu("vcpu1"), vcpu(machine)
    assert restored.outcome == Done()
    assert (there.in_l2, there.l2_exceptions, there.vmxon) == (True, 1 << NM, had.vmxon)
    assert (there.xfd, there.xcr0, there.fpstate) == (0, 1, machine.vcpu("vcpu1").fpstate)


def test_a_vcpu_without_vmx_takes_no_nested_state():
    machine = moved(l2(), cpuid=None)
    assert restore_nested_state(machine, "vcpu1", VCPU).outcome == Failed(EINVAL)


def test_it_needs_the_control_registers_first():
    assert "KVM_SET_SREGS" in not_restorable(moved(l2(), cr4=0), "vcpu1", VCPU)
    assert not_restorable(moved(l2()), "vcpu1", VCPU) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"cr0": 0x8001_0013}, "CR0.NE"),
        ({"cr4": 0x620 | VMXE}, "CR4.VMXE"),
        ({"cr4": 0x620 | 1 << 23}, "CET"),
    ],
)
def test_what_the_model_does_not_know_of_an_entry_is_told(changes, why):
    machine = with_fields(l1(), **changes)
    assert why in not_enterable(machine.host, vcpu(machine))
    assert bool(why) == bool(not_enterable(machine.host, vcpu(machine)))
