"""kernel contract section 3: what a new vCPU is like, what freezes permission (INV-4, INV-15)."""

import errno
from operator import attrgetter

import pytest

from kvmprobe.errors import ModelBug
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.lifecycle import create_vcpu, create_vm, open_kvm
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Failed, NewDescriptor
from kvmprobe.model.process import close, fork, limit_descriptors, share_memory
from tests.support.hosts import AMX_HOST, VCPU, machine_with_vcpu, with_behaviours

FRESH = Machine.fresh(AMX_HOST)
WITH_VM = create_vm(FRESH).machine
LOCKS_LATE = Machine.fresh(with_behaviours(AMX_HOST, Behaviour.DUPLICATE_VCPU_ID_LOCKS))
TRUNCATES = Machine.fresh(with_behaviours(AMX_HOST, Behaviour.VCPU_ID_TRUNCATED))
OTHER = "other"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("xcr0", 1),
        ("fpstate.xfd", 0),
        ("xfd_err", 0),
        ("fpstate.xstate_bv", 0),
        ("guest_xcr0", 0),
        ("fpstate.uabi_size", 4096),
        ("fpstate.mxcsr", 0x1F80),
        ("fpstate.user_xfeatures", 0x202E7),
        ("pkru", 0),
        ("ran", False),
    ],
)
def test_a_new_vcpu_starts_with(field, value):
    assert attrgetter(field)(machine_with_vcpu().vcpu(VCPU)) == value


def test_a_new_vcpu_is_without_tile_data_even_where_it_is_permitted():
    # contract 0.1: ux starts as HD.
    assert machine_with_vcpu(granted=True).vcpu(VCPU).fpstate.user_xfeatures == 0x202E7


def test_creating_a_vcpu_returns_a_descriptor():
    assert create_vcpu(FRESH, VCPU).outcome == NewDescriptor()


def test_creating_a_vcpu_freezes_guest_permission():
    assert create_vcpu(FRESH, VCPU).machine.perm_locked


def test_creating_a_vm_freezes_nothing():
    # contract 9, V,P: ok
    assert create_vm(FRESH).machine.process("") == FRESH.process("")


def test_opening_the_device_changes_nothing():
    assert open_kvm(FRESH).machine == FRESH


def test_a_vcpu_that_was_never_created_is_a_bug_of_the_scenario():
    with pytest.raises(ModelBug, match="vcpu0"):
        FRESH.vcpu(VCPU)


@pytest.mark.parametrize("number", [1 << 14, (1 << 31) - 1, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
def test_an_id_beyond_all_is_einval_and_freezes_nothing(number):
    # contract 3: failures before the allocation do not lock; the largest build has 4 * 4096 ids.
    step = create_vcpu(WITH_VM, VCPU, vcpu_id=number)
    assert (step.outcome, step.machine) == (Failed(errno.EINVAL), WITH_VM)


def test_an_id_whose_upper_half_is_lost_is_taken_for_its_lower_half():
    machine = create_vcpu(TRUNCATES, VCPU, vcpu_id=1 << 32 | 7).machine
    assert machine.vm("vm").vcpu_ids == {7}


def test_a_lower_half_beyond_all_is_einval_there_too():
    assert create_vcpu(TRUNCATES, VCPU, vcpu_id=(1 << 64) - 1).outcome == Failed(errno.EINVAL)


def test_an_id_that_is_taken_is_eexist():
    assert create_vcpu(machine_with_vcpu(), "vcpu1").outcome == Failed(errno.EEXIST)


def test_an_id_stays_taken_when_the_vcpu_is_closed():
    # kvm_main.c: kvm_vcpu_release only drops the VM's reference.
    machine = close(machine_with_vcpu(), VCPU).machine
    assert create_vcpu(machine, "vcpu1").outcome == Failed(errno.EEXIST)


def test_each_vm_has_its_own_ids():
    machine = create_vm(machine_with_vcpu(), "vm1").machine
    assert create_vcpu(machine, "vcpu1", vm_name="vm1").outcome == NewDescriptor()


@pytest.mark.parametrize(("fresh", "locked"), [(FRESH, False), (LOCKS_LATE, True)])
def test_whether_a_taken_id_freezes_depends_on_the_kernel(fresh, locked):
    # live: s3 duplicate id locks the caller's group on 6.1, 6.12, 6.17; not on 7.3.
    machine = share_memory(create_vm(fresh).machine, OTHER).machine
    machine = create_vcpu(machine, VCPU).machine
    machine = create_vcpu(machine, "vcpu1", by=OTHER).machine
    assert machine.process(OTHER).perm_locked is locked


def test_without_a_descriptor_left_a_vcpu_is_emfile_and_freezes_all_the_same():
    # live: fd exhaustion (-EMFILE) does lock.
    step = create_vcpu(limit_descriptors(WITH_VM).machine, VCPU)
    assert (step.outcome, step.machine.perm_locked) == (Failed(errno.EMFILE), True)


def test_without_a_descriptor_left_the_id_stays_free():
    machine = create_vcpu(limit_descriptors(WITH_VM).machine, VCPU).machine
    assert machine.vm("vm").vcpu_ids == set()


def test_a_bad_id_comes_before_the_descriptor():
    machine = limit_descriptors(WITH_VM).machine
    assert create_vcpu(machine, VCPU, vcpu_id=1 << 20).outcome == Failed(errno.EINVAL)


def test_without_a_descriptor_left_a_vm_is_emfile():
    assert create_vm(limit_descriptors(FRESH).machine).outcome == Failed(errno.EMFILE)


def test_without_a_descriptor_left_the_device_is_emfile():
    assert open_kvm(limit_descriptors(FRESH).machine).outcome == Failed(errno.EMFILE)


def test_a_vcpu_in_another_memorys_vm_is_eio_and_freezes_nothing():
    # INV-41
    machine = fork(WITH_VM, OTHER).machine
    step = create_vcpu(machine, VCPU, by=OTHER)
    assert (step.outcome, step.machine) == (Failed(errno.EIO), machine)


def test_a_forked_process_can_have_a_vm_of_its_own():
    machine = create_vm(fork(FRESH, OTHER).machine, by=OTHER).machine
    assert create_vcpu(machine, VCPU, by=OTHER).outcome == NewDescriptor()


def test_a_vcpu_belongs_to_the_memory_of_its_vm():
    machine = create_vm(fork(FRESH, OTHER).machine, by=OTHER).machine
    assert create_vcpu(machine, VCPU, by=OTHER).machine.vcpu(VCPU).memory == OTHER


def test_a_vcpu_on_a_closed_vm_is_ebadf():
    assert create_vcpu(close(WITH_VM, "vm").machine, VCPU).outcome == Failed(errno.EBADF)
