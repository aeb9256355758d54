"""kernel contract section 1: the XCOMP options of arch_prctl(2), in the order of its table."""

import errno

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.permission import (
    XCOMP_FIELD,
    get_guest_permission,
    get_host_permission,
    get_supported,
    get_to_nowhere,
    request_guest_permission,
    request_host_permission,
    unknown_option,
)
from kvmprobe.model.process import set_altstack, spawn_thread
from tests.support.hosts import AMX_HOST, AVX512_HOST, machine_with_vcpu, with_behaviours

FRESH = Machine.fresh(AMX_HOST)
KNOWS_APX = Machine.fresh(with_behaviours(AMX_HOST, Behaviour.KNOWS_APX))
# Less than XTILE_DATA's 8192 bytes; more than its end at 11008 and the rest of a frame.
SMALL, LARGE = 6144, 65536

each_request = pytest.mark.parametrize(
    "request_permission",
    [request_guest_permission, request_host_permission],
    ids=["guest", "host"],
)


def bitmap(step):
    return step.outcome.fields[XCOMP_FIELD]


def with_stack(machine, size, by=""):
    return set_altstack(machine, size, by).machine


def test_what_is_supported_is_the_hosts():
    # contract 1, seen live: 0x602e7 on Sapphire Rapids.
    assert bitmap(get_supported(FRESH)) == 0x602E7


@pytest.mark.parametrize("get", [get_host_permission, get_guest_permission])
def test_default_permission_is_all_but_tile_data(get):
    # xstate.rst, INV-1; seen live: 0x202e7 on Sapphire Rapids.
    assert bitmap(get(FRESH)) == 0x202E7


def test_the_lock_does_not_show():
    # INV-7: bit 63 never leaks out.
    assert bitmap(get_guest_permission(machine_with_vcpu())) == 0x202E7


def test_a_bitmap_for_a_null_pointer_is_efault():
    assert get_to_nowhere(FRESH).outcome == Failed(errno.EFAULT)


def test_an_unknown_option_is_einval():
    assert unknown_option(FRESH).outcome == Failed(errno.EINVAL)


@each_request
@pytest.mark.parametrize("nr", [19, 20, 63, 64, 1 << 32 | 18, (1 << 64) - 1])
def test_a_number_beyond_the_known_features_is_einval(request_permission, nr):
    assert request_permission(FRESH, nr).outcome == Failed(errno.EINVAL)


@each_request
@pytest.mark.parametrize("nr", [20, 63, 64, 1 << 32 | 18, (1 << 64) - 1])
def test_a_number_beyond_apx_is_einval_where_apx_is_known(request_permission, nr):
    assert request_permission(KNOWS_APX, nr).outcome == Failed(errno.EINVAL)


@each_request
@pytest.mark.parametrize("nr", range(18))
def test_a_feature_that_is_not_dynamic_is_eopnotsupp(request_permission, nr):
    assert request_permission(FRESH, nr).outcome == Failed(errno.EOPNOTSUPP)


@each_request
def test_apx_where_it_is_known_is_eopnotsupp(request_permission):
    assert request_permission(KNOWS_APX, 19).outcome == Failed(errno.EOPNOTSUPP)


@each_request
def test_tile_data_on_a_host_without_it_is_eopnotsupp(request_permission):
    # INV-42
    machine = Machine.fresh(AVX512_HOST)
    assert request_permission(machine, 18).outcome == Failed(errno.EOPNOTSUPP)


@each_request
def test_tile_data_is_granted(request_permission):
    assert request_permission(FRESH, 18).outcome == Done()


@each_request
def test_a_repeated_request_succeeds(request_permission):
    granted = request_permission(FRESH, 18).machine
    assert request_permission(granted, 18).outcome == Done()


def test_a_grant_to_guests_adds_exactly_tile_data_and_only_there():
    # INV-2
    granted = request_guest_permission(FRESH, 18).machine
    assert bitmap(get_guest_permission(granted)) == 0x602E7
    assert bitmap(get_host_permission(granted)) == 0x202E7


def test_a_grant_to_the_host_adds_exactly_tile_data_and_only_there():
    # INV-2
    granted = request_host_permission(FRESH, 18).machine
    assert bitmap(get_host_permission(granted)) == 0x602E7
    assert bitmap(get_guest_permission(granted)) == 0x202E7


def test_a_request_after_the_first_vcpu_is_ebusy():
    assert request_guest_permission(machine_with_vcpu(), 18).outcome == Failed(errno.EBUSY)


def test_a_request_after_the_first_vcpu_succeeds_if_granted_before():
    machine = machine_with_vcpu(granted=True)
    assert request_guest_permission(machine, 18).outcome == Done()


def test_a_vcpu_does_not_keep_the_host_from_permission():
    # INV-5: the guest lock never affects ARCH_REQ_XCOMP_PERM.
    assert request_host_permission(machine_with_vcpu(), 18).outcome == Done()


def test_not_dynamic_comes_before_locked():
    # live: REQ(3) after the lock is still EOPNOTSUPP.
    assert request_guest_permission(machine_with_vcpu(), 3).outcome == Failed(errno.EOPNOTSUPP)


@each_request
@pytest.mark.parametrize("nr", [3, 20])
def test_a_refused_request_changes_nothing(request_permission, nr):
    machine = machine_with_vcpu()
    assert request_permission(machine, nr).machine == machine


def test_a_request_that_comes_too_late_changes_nothing():
    machine = machine_with_vcpu()
    assert request_guest_permission(machine, 18).machine == machine


def test_a_signal_stack_too_small_for_the_larger_frame_is_enospc():
    # contract 1, row 7: -ENOSPC, where xstate.rst says -ENOSUPP.
    machine = with_stack(FRESH, SMALL)
    assert request_host_permission(machine, 18).outcome == Failed(errno.ENOSPC)


def test_a_signal_stack_of_another_thread_counts():
    machine = with_stack(spawn_thread(FRESH, "thread").machine, SMALL, "thread")
    assert request_host_permission(machine, 18).outcome == Failed(errno.ENOSPC)


def test_the_smallest_stack_decides():
    machine = with_stack(spawn_thread(FRESH, "thread").machine, SMALL, "thread")
    machine = with_stack(machine, LARGE)
    assert request_host_permission(machine, 18, "thread").outcome == Failed(errno.ENOSPC)


def test_a_large_signal_stack_is_enough():
    assert request_host_permission(with_stack(FRESH, LARGE), 18).outcome == Done()


def test_guests_need_no_signal_stack():
    # INV-6
    assert request_guest_permission(with_stack(FRESH, SMALL), 18).outcome == Done()


def test_not_dynamic_comes_before_the_signal_stack():
    machine = with_stack(FRESH, SMALL)
    assert request_host_permission(machine, 3).outcome == Failed(errno.EOPNOTSUPP)
