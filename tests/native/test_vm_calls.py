"""VMs, memory and devices on a real /dev/kvm, with the errnos of each call."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest

from kvmprobe.bindings import (
    Attach,
    Capability,
    Clock,
    ClockFlag,
    HltExit,
    IoSpace,
    KernelCallError,
    Kvm,
    MemoryFlag,
    VmFd,
)
from kvmprobe.xstate import CpuidTable

SMM_SLOTS = 1 << 16


@pytest.fixture
def eventfd():
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


def test_an_unknown_type_of_vm_is_einval(kvm, refused):
    # kvm_arch_init_vm refuses a type of which KVM_CAP_VM_TYPES has no bit
    refused(errno.EINVAL, kvm.create_vm, 77)


def test_a_vm_of_another_process_is_eio(vm):
    # virt/kvm/kvm_main.c: kvm_vm_ioctl: kvm->mm != current->mm
    child = os.fork()
    if child == 0:
        try:
            vm.create_vcpu(0)
        except KernelCallError as error:
            os._exit(error.errno)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.EIO


def test_a_capability_that_is_not_there_is_0(kvm):
    # KVM_CAP_PPC_SMT
    assert kvm.check_extension(64) == 0


def test_a_number_beyond_all_capabilities_is_0(kvm):
    assert kvm.check_extension(1 << 20) == 0


def test_emulated_cpuid_is_a_table(kvm):
    table = kvm.emulated_cpuid()
    assert CpuidTable.from_bytes(table).to_bytes()[:4] == table[:4]


def test_feature_msrs_are_those_of_the_list(kvm):
    indices = kvm.feature_msr_indices()
    assert len(kvm.feature_msrs(indices)) == len(indices)


def test_256_feature_msrs_are_e2big(kvm, refused):
    # arch/x86/kvm/x86.c: msr_io: nmsrs >= MAX_IO_MSRS
    refused(errno.E2BIG, kvm.feature_msrs, range(256))


def test_an_attribute_that_is_not_there_is_enxio(kvm, refused):
    refused(errno.ENXIO, kvm.get_device_attr, 7, 0)


def test_the_attribute_of_xcomp_is_there(kvm):
    kvm.has_device_attr(0, 0)


def test_an_attribute_of_the_system_cannot_be_set(kvm, refused):
    refused(errno.EINVAL, kvm.set_device_attr, 0, 0, bytes(8))


def test_a_taken_vcpu_id_is_eexist(vm, vcpu, refused):
    refused(errno.EEXIST, vm.create_vcpu, 0)


def test_a_vcpu_id_beyond_all_is_einval(vm, refused):
    refused(errno.EINVAL, vm.create_vcpu, 1 << 20)


def test_a_capability_that_cannot_be_enabled_is_einval(vm, refused):
    refused(errno.EINVAL, vm.enable_cap, Capability.XSAVE)


def test_a_second_interrupt_controller_is_eexist(vm, refused):
    vm.create_irqchip()
    refused(errno.EEXIST, vm.create_irqchip)


def test_what_a_capability_would_create_and_is_there_is_eexist(vm, refused):
    vm.create_irqchip()
    refused(errno.EEXIST, vm.enable_cap, Capability.SPLIT_IRQCHIP, 24)


def test_an_interrupt_controller_after_a_vcpu_is_einval(vm, vcpu, refused):
    refused(errno.EINVAL, vm.create_irqchip)


def test_an_interrupt_line_without_a_controller_is_enxio(vm, refused):
    refused(errno.ENXIO, vm.irq_line, 1, 1)


def test_an_interrupt_line_can_be_raised_and_lowered(vm):
    vm.create_irqchip()
    vm.irq_line(1, 1)
    vm.irq_line(1, 0)


def test_an_irqfd_without_a_controller_is_einval(vm, eventfd, refused):
    refused(errno.EINVAL, vm.irqfd, eventfd, 4)


def test_an_eventfd_is_attached_to_one_interrupt_once(vm, eventfd, refused):
    vm.create_irqchip()
    vm.irqfd(eventfd, 4)
    refused(errno.EBUSY, vm.irqfd, eventfd, 4)


def test_an_irqfd_that_is_taken_away_can_be_attached_again(vm, eventfd):
    vm.create_irqchip()
    vm.irqfd(eventfd, 4)
    vm.irqfd(eventfd, 4, Attach.NO)
    vm.irqfd(eventfd, 4)


def test_an_ioeventfd_is_signalled_by_the_guest(vm, vcpu, guest, eventfd):
    guest(bytes.fromhex("e610 f4"))  # out 0x10, al; hlt
    vm.ioeventfd(eventfd, IoSpace.PIO, 0x10, 1)
    assert (vcpu.run(), os.eventfd_read(eventfd)) == (HltExit(), 1)


def test_an_ioeventfd_that_is_taken_away_is_not_there(vm, eventfd, refused):
    vm.ioeventfd(eventfd, IoSpace.PIO, 0x10, 1)
    vm.ioeventfd(eventfd, IoSpace.PIO, 0x10, 1, Attach.NO)
    refused(errno.ENOENT, vm.ioeventfd, eventfd, IoSpace.PIO, 0x10, 1, Attach.NO)


def test_two_ioeventfds_of_one_address_are_eexist(vm, eventfd, refused):
    vm.ioeventfd(eventfd, IoSpace.MMIO, 0xFEC0_0000, 4)
    refused(errno.EEXIST, vm.ioeventfd, eventfd, IoSpace.MMIO, 0xFEC0_0000, 4)


def test_an_ioeventfd_of_three_bytes_is_einval(vm, eventfd, refused):
    refused(errno.EINVAL, vm.ioeventfd, eventfd, IoSpace.PIO, 0x10, 3)


def test_the_tss_lies_below_4_gib(vm, refused):
    vm.set_tss_addr(0xFFFB_D000)
    refused(errno.EINVAL, vm.set_tss_addr, 0xFFFF_F000)


def test_the_identity_map_comes_before_vcpus(vm, refused):
    vm.set_identity_map_addr(0xFFFB_C000)
    with vm.create_vcpu(0):
        refused(errno.EINVAL, vm.set_identity_map_addr, 0xFFFB_C000)


def test_the_clock_goes_on_from_what_was_set(vm):
    vm.set_clock(Clock(clock=10**15))
    assert 10**15 <= vm.get_clock().clock < 10**15 + 60 * 10**9


def test_an_unknown_flag_of_the_clock_is_einval(vm, refused):
    refused(errno.EINVAL, vm.set_clock, Clock(flags=ClockFlag.TSC_STABLE << 10))


def test_unaligned_memory_is_einval(vm, refused):
    refused(errno.EINVAL, vm.map_memory, 0, 1, b"\xf4")


def test_overlapping_memory_is_eexist(vm, refused):
    vm.map_memory(0, 0x1000, bytes(0x2000))
    refused(errno.EEXIST, vm.map_memory, 1, 0x2000, bytes(0x1000))


def test_memory_of_another_size_is_einval(vm, refused):
    vm.map_memory(0, 0x1000, bytes(0x2000))
    refused(errno.EINVAL, vm.map_memory, 0, 0x1000, bytes(0x1000))


def test_a_slot_can_be_moved(vm, refused):
    memory = vm.map_memory(0, 0x1000, bytes(0x1000))
    vm.set_user_memory_region(0, 0x8000, memory)
    vm.map_memory(1, 0x1000, bytes(0x1000))
    refused(errno.EEXIST, vm.map_memory, 2, 0x8000, bytes(0x1000))


def test_a_deleted_slot_makes_room(vm):
    vm.map_memory(0, 0x1000, bytes(0x2000))
    vm.delete_memory_region(0)
    vm.map_memory(1, 0x2000, bytes(0x1000))


def test_an_empty_slot_cannot_be_deleted(vm, refused):
    refused(errno.EINVAL, vm.delete_memory_region, 3)


def test_memory_in_use_cannot_be_unmapped(vm):
    memory = vm.map_memory(0, 0, bytes(0x1000))
    with pytest.raises(BufferError):
        memory.close()


def test_memory_of_a_deleted_slot_can_be_unmapped(vm):
    memory = vm.map_memory(0, 0, bytes(0x1000))
    vm.delete_memory_region(0)
    memory.close()
    assert memory.closed


def test_a_vcpu_keeps_its_guests_memory(guest):
    # The VM is closed and forgotten; the kernel still has the address.
    with Kvm.open() as kvm, kvm.create_vm() as vm:
        vm.map_memory(0, 0xFFFF_F000, bytes(0xFF0) + b"\xf4")
        vcpu = vm.create_vcpu(0)
    del vm
    with vcpu:
        assert vcpu.run() == HltExit()


def test_the_dirty_log_has_the_pages_that_the_guest_wrote(vm, vcpu, guest):
    memory = guest(bytes.fromhex("a20020 a20051 f4"))  # mov [0x2000], al; mov [0x5100], al; hlt
    vm.set_user_memory_region(0, 0, memory, MemoryFlag.LOG_DIRTY_PAGES)
    vcpu.run()
    assert vm.get_dirty_log(0) == {0x2, 0x5}


def test_the_dirty_log_begins_anew_each_time(vm, vcpu, guest):
    memory = guest(bytes.fromhex("a20020 f4"))
    vm.set_user_memory_region(0, 0, memory, MemoryFlag.LOG_DIRTY_PAGES)
    vcpu.run()
    vm.get_dirty_log(0)
    assert vm.get_dirty_log(0) == set()


@pytest.mark.parametrize("slot", [0, 1], ids=["not logged", "empty"])
def test_a_log_that_is_not_kept_is_enoent(vm, slot, refused):
    vm.map_memory(0, 0, bytes(mmap.PAGESIZE))
    refused(errno.ENOENT, vm.get_dirty_log, slot)


def test_a_log_of_a_slot_beyond_all_is_einval(vm, refused):
    refused(errno.EINVAL, vm.get_dirty_log, SMM_SLOTS - 1)


def kernel_objects():
    """What this process has of KVM: descriptors and mappings."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return len(list(Path("/proc/self/fd").iterdir())), maps.count("kvm-vcpu")


def test_a_vcpu_whose_run_area_cannot_be_mapped_leaves_nothing_behind(kvm):
    with kvm.create_vm() as vm:
        vm.run_size = 1 << 60
        before = kernel_objects()
        with pytest.raises(OSError, match=r"Invalid argument|Cannot allocate"):
            vm.create_vcpu(0)
        assert kernel_objects() == before


def unknown(_descriptor):
    raise KernelCallError("KVM_CHECK_EXTENSION", "VM", errno.EIO)


@pytest.mark.parametrize("size", ["xsave_size", "nested_size"])
def test_a_vcpu_without_a_known_size_of_state_leaves_nothing_behind(vm, size):
    sizeless_vm = type("Sizeless", (VmFd,), {size: unknown})
    with sizeless_vm(os.dup(vm.fd), vm.run_size) as sizeless:
        before = kernel_objects()
        with pytest.raises(KernelCallError) as raised:
            sizeless.create_vcpu(0)
        # The traceback, and so all that its frames refer to, is still there.
        assert kernel_objects() == before
        assert raised.value.errno == errno.EIO


def test_a_vm_without_a_known_size_of_run_areas_leaves_nothing_behind():
    class Sizeless(Kvm):
        vcpu_mmap_size = unknown

    with Sizeless.open() as kvm:
        before = kernel_objects()
        with pytest.raises(KernelCallError) as raised:
            kvm.create_vm()
        assert kernel_objects() == before
        assert raised.value.errno == errno.EIO
