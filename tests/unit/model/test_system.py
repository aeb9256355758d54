"""kernel contract section 2: capabilities, device attributes, lists (INV-8, INV-9, INV-27)."""

import errno
from dataclasses import replace

import pytest

from kvmprobe.abi.numbers import KvmCap
from kvmprobe.model import system
from kvmprobe.model.lifecycle import create_vm
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.permission import request_guest_permission
from kvmprobe.model.process import close, fork, share_memory
from kvmprobe.xstate.cpuid import CpuidTable
from tests.support.hosts import AMX_HOST, AVX512_HOST

FRESH = create_vm(Machine.fresh(AMX_HOST)).machine
GRANTED = request_guest_permission(FRESH, 18).machine
PLAIN = create_vm(Machine.fresh(AVX512_HOST)).machine
OTHER = "other"


def with_xss(host, xss):
    """The host with these supervisor components in 0xD.1:ECX (SDM vol.2 CPUID)."""
    entries = tuple(
        e._replace(ecx=xss) if (e.leaf, e.subleaf) == (0xD, 1) else e
        for e in host.supported.entries
    )
    return replace(host, supported=CpuidTable(entries))


@pytest.mark.parametrize("on", ["kvm", "vm"])
@pytest.mark.parametrize("cap", [c for c in KvmCap if c is not KvmCap.XSAVE2])
def test_a_capability_is_there(cap, on):
    assert system.check_extension(FRESH, cap, on).outcome == Done(1)


@pytest.mark.parametrize("on", ["kvm", "vm"])
@pytest.mark.parametrize(
    ("machine", "size"), [(FRESH, 4096), (GRANTED, 11008), (PLAIN, 4096)], ids=str
)
def test_the_images_size_follows_permission(machine, size, on):
    # contract 2, seen live: 4096, then 2816 + 8192.
    assert system.check_extension(machine, KvmCap.XSAVE2, on).outcome == Done(size)


@pytest.mark.parametrize(("by", "size"), [("", 4096), (OTHER, 11008)])
def test_the_images_size_follows_the_callers_permission(by, size):
    machine = request_guest_permission(share_memory(FRESH, OTHER).machine, 18, OTHER).machine
    assert system.check_extension(machine, KvmCap.XSAVE2, "vm", by).outcome == Done(size)


def test_a_capability_of_another_memorys_vm_is_eio():
    # INV-41
    machine = fork(FRESH, OTHER).machine
    step = system.check_extension(machine, KvmCap.XSAVE, "vm", OTHER)
    assert step.outcome == Failed(errno.EIO)


@pytest.mark.parametrize("machine", [FRESH, GRANTED])
def test_the_attribute_does_not_follow_permission(machine):
    # contract 2: the value is unfiltered KXCR0.
    outcome = system.get_device_attr(machine, 0, 0).outcome
    assert outcome == Done(fields={system.VALUE_FIELD: 0x602E7})


def test_the_attribute_is_there():
    assert system.has_device_attr(FRESH, 0, 0).outcome == Done()


def test_the_attribute_to_a_null_pointer_is_efault():
    assert system.get_device_attr_to_nowhere(FRESH, 0, 0).outcome == Failed(errno.EFAULT)


@pytest.mark.parametrize(
    "ask",
    [system.has_device_attr, system.get_device_attr, system.get_device_attr_to_nowhere],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize(("group", "attr"), [(0, 1), (1, 1), (2, 0)])
def test_another_attribute_is_enxio(ask, group, attr):
    assert ask(FRESH, group, attr).outcome == Failed(errno.ENXIO)


def listed(machine):
    fields = system.get_msr_index_list(machine).outcome.fields
    return [fields[name] for name in system.LISTED_MSRS]


def test_xfd_is_listed_where_kvm_knows_it():
    # INV-27: XFD, XFD_ERR; XSS never where it can only be 0.
    assert listed(FRESH) == [1, 1, 0]


def test_xfd_is_not_listed_where_kvm_does_not_know_it():
    assert listed(PLAIN) == [0, 0, 0]


def test_xss_is_listed_where_it_can_be_non_zero():
    # contract 2: 0xD.1:ECX of the supported table is KXSS; 0x1800 on 7.3.4.
    assert listed(Machine.fresh(with_xss(AVX512_HOST, 0x1800))) == [0, 0, 1]


def test_a_list_without_room_is_e2big_and_tells_the_count():
    outcome = system.get_msr_index_list_short(FRESH, 1).outcome
    assert outcome == Failed(errno.E2BIG, {system.COUNT_FIELD: 2})


def test_a_list_with_just_enough_room_is_filled():
    outcome = system.get_msr_index_list_short(FRESH, 2).outcome
    assert outcome == Done(fields={system.COUNT_FIELD: 2})


@pytest.mark.parametrize("room", [0, 1, 3])
def test_an_emulated_table_without_room_for_one_more_is_e2big_and_says_no_count(room):
    outcome = system.get_emulated_cpuid(FRESH, room).outcome
    assert outcome == Failed(errno.E2BIG, {system.COUNT_FIELD: room})


def test_no_leaf_of_xstate_is_emulated():
    # contract 2: never contains 0xD/0x1D/0x1E.
    fields = system.get_emulated_cpuid(GRANTED, 256).outcome.fields
    assert fields[system.XSTATE_LEAVES_FIELD] == 0


@pytest.mark.parametrize(("room", "number"), [(0, errno.E2BIG), (1, errno.EINVAL)])
def test_padding_is_looked_at_in_the_entries_there_are(room, number):
    assert system.get_emulated_cpuid_padded(FRESH, room).outcome.errno == number


def test_a_supported_table_without_room_is_e2big_and_says_no_count():
    outcome = system.get_supported_cpuid_short(FRESH, 1).outcome
    assert outcome == Failed(errno.E2BIG, {system.COUNT_FIELD: 1})


def test_a_null_pointer_is_efault_for_who_may_make_the_ioctl():
    assert system.ioctl_to_nowhere(FRESH, "vm").outcome == Failed(errno.EFAULT)


def test_a_null_pointer_on_another_memorys_vm_is_eio():
    machine = fork(FRESH, OTHER).machine
    assert system.ioctl_to_nowhere(machine, "vm", OTHER).outcome == Failed(errno.EIO)


def test_a_null_pointer_on_a_closed_descriptor_is_ebadf():
    machine = close(FRESH, "vm").machine
    assert system.ioctl_to_nowhere(machine, "vm").outcome == Failed(errno.EBADF)
