"""Exits that a test cannot provoke, as the kernel would write them: offsets by linux/kvm.h."""

from __future__ import annotations

import errno
import mmap
import os
import struct

import pytest

from kvmprobe.abi.numbers import EHWPOISON, InternalError, KvmExit
from kvmprobe.bindings import exits
from kvmprobe.bindings.run_area import RunArea
from kvmprobe.errors import LayoutError

UNION = 32
DATA = 0x400


@pytest.fixture
def kernel():
    """What the kernel has of the area: memory that both map."""
    fd = os.memfd_create("run")
    os.ftruncate(fd, mmap.PAGESIZE)
    with mmap.mmap(fd, mmap.PAGESIZE) as memory:
        yield fd, memory
    os.close(fd)


@pytest.fixture
def area(kernel):
    opened = RunArea(kernel[0], mmap.PAGESIZE)
    yield opened
    opened.close()


@pytest.fixture
def stop(kernel, area):
    def written(reason, form, *values):
        struct.pack_into("<I", kernel[1], 8, reason)
        struct.pack_into(f"<{form}", kernel[1], UNION, *values)
        return area.exit()

    return written


def test_an_out_has_all_bytes_of_its_accesses(kernel, stop):
    kernel[1][DATA : DATA + 4] = b"abcd"
    exited = stop(KvmExit.IO, "BBHIQ", 1, 2, 0x3F8, 2, DATA)
    assert exited == exits.IoExit(exits.IoDirection.OUT, 0x3F8, 2, 2, b"abcd")


def test_an_in_has_no_bytes_yet(stop):
    exited = stop(KvmExit.IO, "BBHIQ", 0, 1, 0x60, 1, DATA)
    assert exited == exits.IoExit(exits.IoDirection.IN, 0x60, 1, 1, b"")


def test_what_answers_an_in_is_where_the_kernel_reads_it(kernel, area, stop):
    stop(KvmExit.IO, "BBHIQ", 0, 2, 0x60, 1, DATA)
    area.answer_read(b"hi")
    assert kernel[1][DATA : DATA + 2] == b"hi"


def test_a_write_to_mmio_has_as_many_bytes_as_were_written(stop):
    exited = stop(KvmExit.MMIO, "Q8sIB", 0xFEE0_0000, b"abcdefgh", 4, 1)
    assert exited == exits.MmioExit(exits.MmioDirection.WRITE, 0xFEE0_0000, 4, b"abcd")


def test_what_answers_a_read_of_mmio_is_where_the_kernel_reads_it(kernel, area, stop):
    stop(KvmExit.MMIO, "Q8sIB", 0xFEE0_0000, bytes(8), 4, 0)
    area.answer_read(b"1234")
    assert kernel[1][UNION + 8 : UNION + 16] == b"1234" + bytes(4)


@pytest.mark.parametrize("content", [b"", b"1", b"123"])
def test_another_number_of_bytes_is_refused(area, stop, content):
    stop(KvmExit.IO, "BBHIQ", 0, 2, 0x60, 1, DATA)
    with pytest.raises(LayoutError, match="reads 2 bytes"):
        area.answer_read(content)


def test_a_guest_that_reads_nothing_is_answered_nothing(area, stop):
    stop(KvmExit.HLT, "")
    with pytest.raises(LayoutError, match="reads 0 bytes"):
        area.answer_read(b"1")


def test_a_failed_entry_tells_the_hardwares_reason(stop):
    exited = stop(KvmExit.FAIL_ENTRY, "QI", 0x8000_0021, 3)
    assert exited == exits.FailEntryExit(0x8000_0021, 3)


def test_an_internal_error_has_as_many_numbers_as_are_told(stop):
    exited = stop(KvmExit.INTERNAL_ERROR, "II3Q", 3, 2, 7, 8, 9)
    assert exited == exits.InternalErrorExit(InternalError.DELIVERY_EV, (7, 8))


def test_a_failed_emulation_tells_the_instruction(stop):
    # emulation_failure: suberror, ndata, flags, insn_size, insn_bytes
    exited = stop(KvmExit.INTERNAL_ERROR, "IIQB15s", 1, 3, 1, 3, b"\x0f\x01\xd0\xcc")
    assert exited.instruction == b"\x0f\x01\xd0"


@pytest.mark.parametrize(("suberror", "ndata", "flags"), [(1, 3, 0), (1, 1, 1), (2, 3, 1)])
def test_without_the_flag_there_is_no_instruction(stop, suberror, ndata, flags):
    exited = stop(KvmExit.INTERNAL_ERROR, "IIQB15s", suberror, ndata, flags, 3, b"\x0f\x01\xd0")
    assert exited.instruction == b""


def test_an_unknown_suberror_stays_a_number(stop):
    assert stop(KvmExit.INTERNAL_ERROR, "II", 99, 0) == exits.InternalErrorExit(99, ())


def test_a_breakpoint_tells_where(stop):
    assert stop(KvmExit.DEBUG, "I4xQQQ", 1, 0x1000, 0x4FF0, 0x400) == exits.DebugExit(
        1, 0x1000, 0x4FF0, 0x400
    )


def test_a_hypercall_tells_its_arguments(stop):
    exited = stop(KvmExit.HYPERCALL, "Q6QQI", 12, 1, 2, 3, 4, 5, 6, 0, 1)
    assert exited == exits.HypercallExit(12, (1, 2, 3, 4, 5, 6), 1)


def test_a_system_event_has_as_many_numbers_as_are_told(stop):
    exited = stop(KvmExit.SYSTEM_EVENT, "II2Q", 1, 1, 5, 6)
    assert exited == exits.SystemEventExit(1, (5,))


def test_rdmsr_tells_its_index(stop):
    assert stop(KvmExit.X86_RDMSR, "B7xIIQ", 0, 2, 0x1122, 0) == exits.MsrReadExit(2, 0x1122)


def test_wrmsr_tells_its_value(stop):
    exited = stop(KvmExit.X86_WRMSR, "B7xIIQ", 0, 16, 0x1122, 77)
    assert exited == exits.MsrWriteExit(16, 0x1122, 77)


def test_what_answers_rdmsr_is_where_the_kernel_reads_it(kernel, area, stop):
    stop(KvmExit.X86_RDMSR, "B7xIIQ", 0, 2, 0x1122, 0)
    area.answer_read(b"abcdefgh")
    assert kernel[1][UNION + 16 : UNION + 24] == b"abcdefgh"


@pytest.mark.parametrize("reason", [KvmExit.X86_RDMSR, KvmExit.X86_WRMSR])
def test_a_refused_msr_is_an_error_to_the_kernel(kernel, area, stop, reason):
    stop(reason, "B7xIIQ", 0, 2, 0x1122, 0)
    area.refuse_msr()
    assert kernel[1][UNION] == 1


def test_only_an_msr_can_be_refused(area, stop):
    stop(KvmExit.HLT, "")
    with pytest.raises(LayoutError, match="neither RDMSR nor WRMSR"):
        area.refuse_msr()


def test_an_exit_of_unknown_hardware_reason_tells_it(stop):
    assert stop(KvmExit.UNKNOWN, "Q", 77) == exits.UnknownExit(77)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (KvmExit.HLT, exits.HltExit()),
        (KvmExit.SHUTDOWN, exits.ShutdownExit()),
        (KvmExit.IRQ_WINDOW_OPEN, exits.OtherExit(KvmExit.IRQ_WINDOW_OPEN)),
        (999, exits.OtherExit(999)),
    ],
)
def test_an_exit_without_details_tells_its_reason(stop, reason, expected):
    assert (stop(reason, ""), expected.reason) == (expected, reason)


@pytest.mark.parametrize("number", [errno.EFAULT, EHWPOISON])
def test_a_memory_fault_is_an_exit_although_the_call_failed(kernel, area, number):
    # Documentation/virt/kvm/api.rst KVM_EXIT_MEMORY_FAULT: flags, gpa, size
    struct.pack_into("<I", kernel[1], 8, KvmExit.MEMORY_FAULT)
    struct.pack_into("<3Q", kernel[1], UNION, 8, 0x1000, 0x2000)
    assert area.memory_fault(-number) == exits.MemoryFaultExit(0x1000, 0x2000, 8, number)


@pytest.mark.parametrize("number", [errno.EINTR, errno.EINVAL])
def test_the_reason_of_another_error_is_an_older_one(kernel, area, number):
    struct.pack_into("<I", kernel[1], 8, KvmExit.MEMORY_FAULT)
    assert area.memory_fault(-number) is None


def test_memory_that_cannot_be_accessed_is_no_exit(kernel, area):
    struct.pack_into("<I", kernel[1], 8, KvmExit.HLT)
    assert area.memory_fault(-errno.EFAULT) is None


def test_immediate_exit_is_the_second_byte(kernel, area):
    area.set_immediate_exit(1)
    assert kernel[1][1] == 1


def test_it_closes_twice(kernel):
    opened = RunArea(kernel[0], mmap.PAGESIZE)
    opened.close()
    opened.close()
