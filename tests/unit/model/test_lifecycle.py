"""kernel contract section 3: what a new vCPU is like (INV-4, INV-15)."""

import pytest

from kvmprobe.errors import ModelBug
from kvmprobe.model.lifecycle import create_vcpu, new_descriptor
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import NewDescriptor
from tests.support.hosts import AMX_HOST, VCPU, machine_with_vcpu

FRESH = Machine.fresh(AMX_HOST)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("xcr0", 1),
        ("xfd", 0),
        ("xfd_err", 0),
        ("xstate_bv", 0),
        ("guest_xcr0", 0),
        ("uabi_size", 4096),
        ("mxcsr", 0x1F80),
        ("user_xfeatures", 0x202E7),
        ("pkru", 0),
        ("ran", False),
    ],
)
def test_a_new_vcpu_starts_with(field, value):
    assert getattr(machine_with_vcpu().vcpu(VCPU), field) == value


def test_a_new_vcpu_is_without_tile_data_even_where_it_is_permitted():
    # contract 0.1: ux starts as HD.
    assert machine_with_vcpu(granted=True).vcpu(VCPU).user_xfeatures == 0x202E7


def test_creating_a_vcpu_returns_a_descriptor():
    assert create_vcpu(FRESH, VCPU).outcome == NewDescriptor()


def test_creating_a_vcpu_freezes_guest_permission():
    assert create_vcpu(FRESH, VCPU).machine.perm_locked


def test_creating_a_vm_changes_nothing():
    assert new_descriptor(FRESH, "KVM_CREATE_VM").machine == FRESH


def test_a_vcpu_that_was_never_created_is_a_bug_of_the_scenario():
    with pytest.raises(ModelBug, match="vcpu0"):
        FRESH.vcpu(VCPU)
