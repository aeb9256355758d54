"""kernel contract section 1: ARCH_REQ_XCOMP_GUEST_PERM, in the order of its table."""

import errno

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.permission import request_guest_permission
from tests.support.hosts import AMX_HOST, AVX512_HOST, machine_with_vcpu, with_behaviours

FRESH = Machine.fresh(AMX_HOST)
KNOWS_APX = Machine.fresh(with_behaviours(AMX_HOST, Behaviour.KNOWS_APX))


def test_default_permission_is_all_but_tile_data():
    # xstate.rst; seen live: 0x202e7 on Sapphire Rapids.
    assert FRESH.guest_perm == 0x202E7


@pytest.mark.parametrize("nr", [19, 20, 63, 64, 1 << 32 | 18, (1 << 64) - 1])
def test_a_number_beyond_the_known_features_is_einval(nr):
    assert request_guest_permission(FRESH, nr).outcome == Failed(errno.EINVAL)


@pytest.mark.parametrize("nr", [20, 63, 64, 1 << 32 | 18, (1 << 64) - 1])
def test_a_number_beyond_apx_is_einval_where_apx_is_known(nr):
    assert request_guest_permission(KNOWS_APX, nr).outcome == Failed(errno.EINVAL)


@pytest.mark.parametrize("nr", range(18))
def test_a_feature_that_is_not_dynamic_is_eopnotsupp(nr):
    assert request_guest_permission(FRESH, nr).outcome == Failed(errno.EOPNOTSUPP)


def test_apx_where_it_is_known_is_eopnotsupp():
    assert request_guest_permission(KNOWS_APX, 19).outcome == Failed(errno.EOPNOTSUPP)


def test_tile_data_on_a_host_without_it_is_eopnotsupp():
    machine = Machine.fresh(AVX512_HOST)
    assert request_guest_permission(machine, 18).outcome == Failed(errno.EOPNOTSUPP)


def test_tile_data_is_granted():
    assert request_guest_permission(FRESH, 18).outcome == Done()


def test_a_grant_adds_exactly_tile_data():
    assert request_guest_permission(FRESH, 18).machine.guest_perm == 0x602E7


def test_a_repeated_request_succeeds():
    granted = request_guest_permission(FRESH, 18).machine
    assert request_guest_permission(granted, 18).outcome == Done()


def test_a_request_after_the_first_vcpu_is_ebusy():
    assert request_guest_permission(machine_with_vcpu(), 18).outcome == Failed(errno.EBUSY)


def test_a_request_after_the_first_vcpu_succeeds_if_granted_before():
    machine = machine_with_vcpu(granted=True)
    assert request_guest_permission(machine, 18).outcome == Done()


def test_not_dynamic_comes_before_locked():
    # live: REQ(3) after the lock is still EOPNOTSUPP.
    assert request_guest_permission(machine_with_vcpu(), 3).outcome == Failed(errno.EOPNOTSUPP)


@pytest.mark.parametrize("nr", [3, 18, 20])
def test_a_refused_request_changes_nothing(nr):
    machine = machine_with_vcpu()
    assert request_guest_permission(machine, nr).machine == machine
