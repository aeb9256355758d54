"""kernel contract sections 1 and 3: threads, fork, exec, CLONE_VM; descriptors (INV-5, INV-41)."""

import errno

import pytest

from kvmprobe.model.lifecycle import create_vcpu, create_vm
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.permission import request_guest_permission, request_host_permission
from kvmprobe.model.process import (
    close,
    denied,
    exec_image,
    fork,
    limit_descriptors,
    set_altstack,
    share_memory,
    spawn_thread,
)
from tests.support.hosts import AMX_HOST, AVX512_HOST, VCPU, machine_with_vcpu

FRESH = Machine.fresh(AMX_HOST)
GRANTED = request_guest_permission(FRESH, 18).machine
LOCKED = machine_with_vcpu()
OTHER = "other"
MAKE = {"thread": spawn_thread, "fork": fork, "shared-mm": share_memory, "exec": exec_image}
COPIES = ["fork", "shared-mm"]
SMALL, LARGE = 6144, 65536

each_task = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def spawned(relation, machine):
    return MAKE[relation](machine, OTHER).machine


@each_task
def test_a_task_can_always_be_made(make):
    assert make(FRESH, OTHER).outcome == Done()


@each_task
def test_making_a_task_leaves_its_maker_as_it_was(make):
    assert make(LOCKED, OTHER).machine.process("") == LOCKED.process("")


@pytest.mark.parametrize("relation", ["thread", *COPIES])
def test_permission_is_shared_or_copied(relation):
    assert spawned(relation, GRANTED).process(OTHER).guest_perm == 0x602E7


@pytest.mark.parametrize("relation", ["thread", *COPIES])
def test_the_lock_is_shared_or_copied(relation):
    # contract 1: the child inherits both permissions including the LOCKED bit.
    machine = spawned(relation, LOCKED)
    assert request_guest_permission(machine, 18, OTHER).outcome == Failed(errno.EBUSY)


def test_exec_drops_permission():
    # contract 1: exec restores defaults.
    host_too = request_host_permission(GRANTED, 18).machine
    process = spawned("exec", host_too).process(OTHER)
    assert (process.guest_perm, process.host_perm) == (0x202E7, 0x202E7)


def test_exec_drops_the_lock():
    machine = spawned("exec", LOCKED)
    assert request_guest_permission(machine, 18, OTHER).outcome == Done()


def test_what_a_thread_is_granted_its_group_has():
    machine = spawned("thread", FRESH)
    assert request_guest_permission(machine, 18, OTHER).machine.guest_perm == 0x602E7


@pytest.mark.parametrize("relation", [*COPIES, "exec"])
def test_what_another_process_is_granted_its_maker_has_not(relation):
    machine = spawned(relation, FRESH)
    assert request_guest_permission(machine, 18, OTHER).machine.guest_perm == 0x202E7


@pytest.mark.parametrize("relation", [*COPIES, "exec"])
def test_what_is_granted_later_another_process_has_not(relation):
    machine = request_guest_permission(spawned(relation, FRESH), 18).machine
    assert machine.process(OTHER).guest_perm == 0x202E7


def test_a_vcpu_made_by_a_thread_locks_the_group():
    # live, INV-4: also a vCPU made by another thread.
    machine = create_vcpu(spawned("thread", FRESH), VCPU, by=OTHER).machine
    assert request_guest_permission(machine, 18).outcome == Failed(errno.EBUSY)


def test_a_vcpu_made_by_a_process_of_the_same_memory_locks_that_process_only():
    machine = create_vcpu(spawned("shared-mm", FRESH), VCPU, by=OTHER).machine
    assert request_guest_permission(machine, 18, OTHER).outcome == Failed(errno.EBUSY)
    assert request_guest_permission(machine, 18).outcome == Done()


@pytest.mark.parametrize("relation", ["thread", "shared-mm"])
@pytest.mark.parametrize("on", ["kvm", "vm", VCPU])
def test_who_has_the_memory_may_use_everything(relation, on):
    machine = spawned(relation, create_vcpu(create_vm(FRESH).machine, VCPU).machine)
    assert denied(machine, on, OTHER) is None


@pytest.mark.parametrize("on", ["vm", VCPU])
def test_another_memory_is_eio(on):
    # INV-41
    machine = spawned("fork", create_vcpu(create_vm(FRESH).machine, VCPU).machine)
    assert denied(machine, on, OTHER) == Failed(errno.EIO)


def test_the_device_may_be_used_from_another_memory():
    # live: INV-41, /dev/kvm fd still works.
    assert denied(spawned("fork", LOCKED), "kvm", OTHER) is None


def test_a_forked_process_may_use_the_vm_that_it_made():
    machine = create_vm(spawned("fork", FRESH), "vm1", by=OTHER).machine
    assert denied(machine, "vm1", OTHER) is None


def test_a_closed_descriptor_is_ebadf():
    assert denied(close(LOCKED, VCPU).machine, VCPU) == Failed(errno.EBADF)


def test_closing_twice_is_ebadf():
    assert close(close(LOCKED, VCPU).machine, VCPU).outcome == Failed(errno.EBADF)


def test_the_lock_survives_closing():
    # INV-5
    machine = close(close(LOCKED, VCPU).machine, "vm").machine
    assert request_guest_permission(machine, 18).outcome == Failed(errno.EBUSY)


@pytest.mark.parametrize("relation", ["thread", "shared-mm"])
def test_descriptors_are_closed_for_all_who_share_them(relation):
    # clone(2): CLONE_FILES
    machine = close(spawned(relation, LOCKED), VCPU).machine
    assert denied(machine, VCPU, OTHER) == Failed(errno.EBADF)


def test_a_forked_process_keeps_its_copy():
    machine = close(spawned("fork", LOCKED), "kvm").machine
    assert denied(machine, "kvm", OTHER) is None


def test_a_forked_process_has_no_copy_of_what_was_closed():
    machine = spawned("fork", close(LOCKED, "kvm").machine)
    assert denied(machine, "kvm", OTHER) == Failed(errno.EBADF)


def test_a_stack_below_the_least_is_enomem():
    # MINSIGSTKSZ is 2048: asm-generic/signal.h
    assert set_altstack(FRESH, 2047).outcome == Failed(errno.ENOMEM)


def test_a_small_stack_is_enough_without_permission():
    assert set_altstack(FRESH, SMALL).outcome == Done()


def test_a_small_stack_is_enomem_with_permission():
    # contract 1: after a host grant, sigaltstack(2) with too small size fails.
    granted = request_host_permission(FRESH, 18).machine
    assert set_altstack(granted, SMALL).outcome == Failed(errno.ENOMEM)


def test_a_refused_stack_changes_nothing():
    granted = request_host_permission(FRESH, 18).machine
    assert set_altstack(granted, SMALL).machine == granted


def test_guest_permission_does_not_matter_to_stacks():
    assert set_altstack(GRANTED, SMALL).outcome == Done()


def test_a_small_stack_is_enough_where_nothing_is_dynamic():
    assert set_altstack(Machine.fresh(AVX512_HOST), SMALL).outcome == Done()


def test_a_forked_process_has_its_makers_stack():
    # fork(2): sigaltstack(2), "a child process inherits a copy".
    machine = spawned("fork", set_altstack(FRESH, SMALL).machine)
    assert request_host_permission(machine, 18, OTHER).outcome == Failed(errno.ENOSPC)


@pytest.mark.parametrize("relation", ["shared-mm", "exec"])
def test_shared_memory_and_exec_begin_without_a_stack(relation):
    # sigaltstack(2): cleared by CLONE_VM without CLONE_VFORK, and by execve.
    machine = spawned(relation, set_altstack(FRESH, SMALL).machine)
    assert request_host_permission(machine, 18, OTHER).outcome == Done()


def test_the_limit_is_the_processs():
    assert spawned("thread", limit_descriptors(FRESH).machine).process(OTHER).limited
