"""KVM_ENABLE_CAP of a VM and of a vCPU."""

import errno

import pytest

from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.model import enabled_cap, vcpu_state
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.enabled_cap import NEVER, OF_VCPU, OF_VM
from kvmprobe.model.lifecycle import create_vcpu
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed, NewDescriptor
from tests.support.hosts import AMX_HOST, VCPU, machine_with_vcpu, with_behaviours

EINVAL, EEXIST = Failed(errno.EINVAL), Failed(errno.EEXIST)
FRESH = Machine.fresh(AMX_HOST)
U64_MAX = (1 << 64) - 1


def enable(capability, arg=0, *, flags=0, machine=FRESH):
    return enabled_cap.enable_vm_cap(machine, "vm", capability, flags, arg)


@pytest.mark.parametrize("capability", OF_VM)
def test_each_capability_of_a_vm_can_be_enabled(capability):
    assert enable(capability).outcome == Done()


@pytest.mark.parametrize("capability", OF_VM)
def test_flags_are_refused(capability):
    assert enable(capability, flags=1 << 31).outcome == EINVAL


@pytest.mark.parametrize("capability", [*NEVER, *OF_VCPU])
def test_what_a_vm_cannot_enable_is_refused(capability):
    assert enable(capability).outcome == EINVAL


@pytest.mark.parametrize("capability", [c for c, known in OF_VM.items() if known.refused])
def test_an_unknown_bit_of_the_argument_is_refused(capability):
    assert enable(capability, 1 << 63).outcome == EINVAL


def test_an_unknown_quirk_is_ignored_by_the_older_capability():
    assert enable(Capability.DISABLE_QUIRKS, 1 << 63).outcome == Done()


def test_dirty_pages_are_protected_before_they_are_set_at_the_start():
    assert enable(Capability.MANUAL_DIRTY_LOG_PROTECT2, 2).outcome == EINVAL
    assert enable(Capability.MANUAL_DIRTY_LOG_PROTECT2, 3).outcome == Done()


@pytest.mark.parametrize(
    ("behaviours", "outcome"), [((), EINVAL), ((Behaviour.EXITS_DISABLED_LATE,), Done())]
)
def test_exits_are_disabled_before_there_is_a_vcpu(behaviours, outcome):
    late = machine_with_vcpu(with_behaviours(AMX_HOST, *behaviours))
    assert enable(Capability.X86_DISABLE_EXITS, machine=late).outcome == outcome


def test_a_split_irqchip_gives_vcpus_a_local_apic_once():
    split = enable(Capability.SPLIT_IRQCHIP).machine
    assert enable(Capability.SPLIT_IRQCHIP, machine=split).outcome == EEXIST
    assert vcpu_state.create_irqchip(split).outcome == EEXIST
    assert create_vcpu(split, VCPU).machine.vcpu(VCPU).lapic


def test_a_split_irqchip_comes_before_the_first_vcpu():
    step = enable(Capability.SPLIT_IRQCHIP, machine=machine_with_vcpu(AMX_HOST))
    assert step.outcome == EEXIST
    assert not step.machine.vm("vm").irqchip


def test_a_limit_of_ids_stays():
    limited = enable(Capability.MAX_VCPU_ID, 1).machine
    assert enable(Capability.MAX_VCPU_ID, 2, machine=limited).outcome == EINVAL
    assert enable(Capability.MAX_VCPU_ID, 1, machine=limited).outcome == Done()


def test_an_id_beyond_the_limit_does_not_freeze_permission():
    limited = enable(Capability.MAX_VCPU_ID, 1).machine
    refused = create_vcpu(limited, VCPU, vcpu_id=1)
    assert refused.outcome == EINVAL
    assert not refused.machine.perm_locked
    assert create_vcpu(limited, VCPU, vcpu_id=0).outcome == NewDescriptor()


def test_a_vcpu_has_paravirtual_features_only():
    feature = Capability.ENFORCE_PV_FEATURE_CPUID
    machine = machine_with_vcpu(AMX_HOST)
    assert enabled_cap.enable_vcpu_cap(machine, feature, 0).outcome == Done()
    assert enabled_cap.enable_vcpu_cap(machine, feature, 1).outcome == EINVAL
    for other in (*OF_VM, *NEVER):
        assert enabled_cap.enable_vcpu_cap(machine, other, 0).outcome == EINVAL


@pytest.mark.parametrize(
    ("capability", "flags", "arg", "covered"),
    [
        (Capability.X86_DISABLE_EXITS, 0, 2, False),
        (Capability.X86_DISABLE_EXITS, 1, 2, True),
        (Capability.X86_DISABLE_EXITS, 0, 2 | 1 << 40, True),
        (Capability.EXCEPTION_PAYLOAD, 0, 1, False),
        (Capability.HALT_POLL, 0, U32_MAX, True),
        (Capability.PMU_CAPABILITY, 0, 0, False),
        (Capability.HYPERV_SYNIC, 0, 0, True),
        (0, 0, U64_MAX, True),
    ],
)
def test_what_depends_on_the_kernel_is_not_covered(capability, flags, arg, covered):
    refused = enabled_cap.vm_cap_refused(FRESH, "vm", capability, flags, arg)
    assert (not refused) == covered


def test_a_first_limit_after_a_vcpu_is_not_covered():
    machine = machine_with_vcpu(AMX_HOST)
    # 7.3.4 refuses 0 as well.
    for limit in (0, 1):
        assert enabled_cap.vm_cap_refused(machine, "vm", Capability.MAX_VCPU_ID, 0, limit)


@pytest.mark.parametrize(("lapic", "covered"), [(False, True), (True, False)])
def test_hyper_vs_controller_is_not_covered_with_a_local_apic(lapic, covered):
    machine = machine_with_vcpu(AMX_HOST)
    machine = machine.with_vcpu(VCPU, machine.vcpu(VCPU)._replace(lapic=lapic))
    refused = enabled_cap.vcpu_cap_refused(machine, VCPU, Capability.HYPERV_SYNIC2, 0, 0)
    assert (not refused) == covered
