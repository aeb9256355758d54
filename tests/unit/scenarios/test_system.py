"""The ops of the system and of descriptors as they are lowered, and what the family has."""

import errno
import struct

import pytest

from kvmprobe.abi.numbers import KvmCap
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Failed
from kvmprobe.scenarios.calls import Close, Immediate, Ioctl, Literal, Output, OutputBehind
from kvmprobe.scenarios.catalog import system
from kvmprobe.scenarios.ops.bad_pointer import (
    KVM_IOCTLS,
    VCPU_IOCTLS,
    VM_IOCTLS,
    IoctlToNowhere,
    PointerIoctl,
)
from kvmprobe.scenarios.ops.lifecycle import CloseDescriptor, CreateVcpu, CreateVm
from kvmprobe.scenarios.ops.system import (
    CheckExtension,
    GetDeviceAttr,
    GetDeviceAttrToNowhere,
    GetEmulatedCpuid,
    GetEmulatedCpuidPadded,
    GetMsrIndexList,
    GetMsrIndexListShort,
    GetSupportedCpuidShort,
    HasDeviceAttr,
)
from tests.support.hosts import AMX_HOST, AVX512_HOST

FAMILY = system.scenarios(AMX_HOST)
BY_ID = {s.id: s for s in FAMILY}
# struct kvm_device_attr: flags, group, attr, addr (linux/kvm.h)
ATTRIBUTE = struct.pack("<IIQQ", 1, 2, 3, 0)


def outcomes(scenario_id):
    machine = Machine.fresh(AMX_HOST)
    found = []
    for step in BY_ID[scenario_id].steps:
        found.append((step.op, step.op.step(machine).outcome))
        machine = step.op.step(machine).machine
    return found


def failures(scenario_id, kind):
    """The errnos that ops of this kind come to; 0 for success."""
    found = (outcome for op, outcome in outcomes(scenario_id) if isinstance(op, kind))
    return {o.errno if isinstance(o, Failed) else 0 for o in found}


@pytest.mark.parametrize(
    ("op_value", "call"),
    [
        # contract 2: ioctl numbers.
        (
            CheckExtension(KvmCap.XSAVE2, "vm", "fork"),
            Ioctl(0xAE03, "vm", Immediate(208), by="fork"),
        ),
        (CreateVm("vm1", "fork"), Ioctl(0xAE01, "kvm", Immediate(0), "vm1", "fork")),
        (CreateVcpu("a", "b", 7, "fork"), Ioctl(0xAE41, "b", Immediate(7), "a", "fork")),
        (CloseDescriptor("vm"), Close("vm")),
        (HasDeviceAttr(3, 2, 1), Ioctl(0x4018AEE3, "kvm", Literal(ATTRIBUTE))),
        (GetDeviceAttr(3, 2, 1), Ioctl(0x4018AEE2, "kvm", OutputBehind(ATTRIBUTE, 16, 8))),
        (
            IoctlToNowhere("KVM_GET_XCRS", "vcpu0", "fork"),
            Ioctl(0x8188AEA6, "vcpu0", Immediate(0), by="fork"),
        ),
    ],
    ids=lambda v: type(v).__name__,
)
def test_an_op_asks_the_kernel_this(op_value, call):
    assert op_value.lower(AMX_HOST) == call


def test_an_attribute_to_nowhere_has_no_address():
    argument = GetDeviceAttrToNowhere().lower(AMX_HOST).argument
    assert argument == Literal(bytes(24))


def test_the_attributes_value_is_read_behind_the_structure():
    output = ATTRIBUTE + struct.pack("<Q", 0x602E7)
    assert GetDeviceAttr().read(output) == {"XCOMP_GUEST_SUPP": 0x602E7}


@pytest.mark.parametrize("ask", [GetEmulatedCpuid, GetEmulatedCpuidPadded, GetSupportedCpuidShort])
@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_table_has_the_room_that_is_said(ask, room):
    # struct kvm_cpuid2: 8 bytes, and 40 an entry.
    match ask(room).lower(AMX_HOST).argument:
        case Output(size, head):
            assert (size, struct.unpack_from("<I", head)) == (8 + 40 * room, (room,))


def test_only_the_padding_is_not_zero():
    # struct kvm_cpuid_entry2: the last 3 words.
    head = GetEmulatedCpuidPadded(2).lower(AMX_HOST).argument.head
    assert head[8:-12] == bytes(40 * 2 - 12)
    assert any(head[-12:])


def test_a_short_list_of_msrs_has_the_room_that_is_said():
    # struct kvm_msr_list: the count, and 4 bytes each.
    assert GetMsrIndexListShort(2).lower(AMX_HOST).argument == Output(12, struct.pack("<I", 2))


def test_the_msrs_of_xstate_are_found_in_the_list():
    listed = struct.pack("<4I", 3, 0x10, 0x1C4, 0xDA0) + b"\xa5" * 32
    assert GetMsrIndexList().read(listed) == {
        "entries": 3,
        "IA32_XFD listed": 1,
        "IA32_XFD_ERR listed": 0,
        "IA32_XSS listed": 1,
    }


def test_the_leaves_of_xstate_are_counted_in_an_emulated_table():
    leaves = (0x1, 0xD, 0x1D, 0x7)
    entries = b"".join(struct.pack("<7I12x", leaf, *[0] * 6) for leaf in leaves)
    table = struct.pack("<II", len(leaves), 0) + entries
    fields = GetEmulatedCpuid(4).read(table)
    assert list(fields.values()) == [4, 2]


def test_a_count_beyond_the_room_is_not_read_as_entries():
    fields = GetEmulatedCpuid(0).read(struct.pack("<II", 9, 0))
    assert list(fields.values()) == [9, 0]


def test_each_ioctl_with_a_pointer_is_made_on_its_own_kind_of_descriptor():
    assert len(KVM_IOCTLS) + len(VM_IOCTLS) + len(VCPU_IOCTLS) == len(PointerIoctl)
    assert PointerIoctl.GET_DEVICE_ATTR in KVM_IOCTLS
    assert PointerIoctl.SET_CPUID2 in VCPU_IOCTLS


@pytest.mark.parametrize(
    ("column", "errnos"),
    [
        # INV-41: EIO on vCPU and VM from another mm, /dev/kvm works; so EFAULT there.
        ("main", {errno.EFAULT}),
        ("thread", {errno.EFAULT}),
        ("shared-mm", {errno.EFAULT}),
        ("fork", {errno.EFAULT, errno.EIO}),
        ("closed", {errno.EBADF}),
        ("closed-shared-mm", {errno.EBADF}),
        ("closed-forked", {errno.EFAULT, errno.EIO}),
    ],
)
def test_who_may_use_descriptors(column, errnos):
    assert failures(f"system.descriptor.{column}", IoctlToNowhere) == errnos


def test_a_closed_vcpus_id_is_taken():
    assert failures("system.vcpu.id-taken-closed", CreateVcpu) == {0, errno.EEXIST}


def test_the_family_is_the_same_on_every_host():
    assert system.scenarios(AVX512_HOST) == FAMILY
