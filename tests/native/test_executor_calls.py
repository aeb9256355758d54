"""What the executor does with each lowered call, on this machine's kernel."""

from __future__ import annotations

import errno
import os
import signal
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmprobe.abi import ioctls, limits
from kvmprobe.abi.numbers import RESET_PAGE, RESET_VECTOR, ArchPrctlCode, KvmExit
from kvmprobe.abi.payload import RESULT_SIZE, PayloadOp, PayloadResult, Registers, command
from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import (
    CANARY,
    ArchPrctl,
    Captured,
    Close,
    Immediate,
    Ioctl,
    LimitDescriptors,
    Literal,
    LiteralAtPageEnd,
    MapMemory,
    MapPayload,
    OpenKvm,
    Output,
    OutputAtPageEnd,
    OutputBehind,
    Relation,
    RunGuest,
    RunVcpu,
    SetAltStack,
    SharePayload,
    SleepingLiteral,
    Spawn,
)
from tests.support.places import JMP_SELF
from tests.support.raw_calls import (
    CREATE_VM,
    GET_API_VERSION,
    OPEN,
    PAYLOAD,
    SUPPORTED_CPUID,
    VCPU,
    WITH_CPUID,
    get_xsave,
    set_xsave,
)
from tests.support.raw_worker import raw_worker, run_calls

MXCSR_OFFSET, XSTATE_BV_OFFSET = 24, 512
GET_XCOMP_PERM = ArchPrctlCode.GET_XCOMP_PERM
MEMBERS = [Relation.THREAD, Relation.FORK, Relation.SHARED_MM]
ALL = list(Relation)
# AT_MINSIGSTKSZ, which arch/x86/kernel/signal.c works out, is between them on every host.
LARGE_STACK, SMALL_STACK = 1 << 16, 1024


@pytest.fixture
def execute():
    return run_calls


@pytest.fixture(scope="module")
def kept_worker():
    with raw_worker() as worker:
        yield worker


def image(xstate_bv=0, mxcsr=0x1F80):
    area = bytearray(4096)
    struct.pack_into("=I", area, MXCSR_OFFSET, mxcsr)
    struct.pack_into("=Q", area, XSTATE_BV_OFFSET, xstate_bv)
    return bytes(area)


# Buffers


def test_an_output_at_a_pages_end_is_reported_completely(execute):
    argument = OutputAtPageEnd(ioctls.GET_XCRS.size)
    ran = execute(*VCPU, Ioctl(ioctls.GET_XCRS.number, "vcpu", argument))
    # struct kvm_xcrs: one register, number 0, which is 1 after reset (SDM vol.1 13.3)
    assert struct.unpack_from("=IIIIQ", ran.output(-1)) == (1, 0, 0, 0, 1)


def test_an_output_at_a_pages_end_that_is_too_short_is_efault(execute):
    argument = OutputAtPageEnd(ioctls.GET_XCRS.size - 1, b"head")
    ran = execute(*VCPU, Ioctl(ioctls.GET_XCRS.number, "vcpu", argument))
    assert ran.results[-1] == -errno.EFAULT


def test_an_output_that_is_not_written_is_canary(execute):
    ran = execute(OPEN, Ioctl(ioctls.GET_XCRS.number, "kvm", OutputAtPageEnd(8, b"ab")))
    assert (ran.results[-1], ran.output(-1)) == (-errno.EINVAL, b"ab" + bytes([CANARY]) * 6)


def test_a_literal_at_a_pages_end_is_read_completely(execute):
    assert execute(*VCPU, set_xsave(LiteralAtPageEnd(image()))).results[-1] == 0


def test_a_literal_at_a_pages_end_that_is_too_short_is_efault(execute):
    ran = execute(*VCPU, set_xsave(LiteralAtPageEnd(image()[:-1])))
    assert ran.results[-1] == -errno.EFAULT


def test_a_captured_output_is_passed_with_its_patches(execute):
    patches = ((XSTATE_BV_OFFSET, b"\1"), (0, struct.pack("=H", 0x27F)), (XSTATE_BV_OFFSET, b"\3"))
    again = Output(4096)
    ran = execute(
        *WITH_CPUID,
        get_xsave(Output(4096, capture="state")),
        set_xsave(Captured("state", patches)),
        get_xsave(again),
    )
    assert ran.results[-2:] == [0, 0]
    image = ran.output(-1)
    assert struct.unpack_from("=H", image) == (0x27F,)
    assert image[XSTATE_BV_OFFSET] & 3 == 3


def test_patches_do_not_change_the_captured_output(execute):
    bad = Captured("state", ((XSTATE_BV_OFFSET + 8, b"\1" * 8),))  # XCOMP_BV must be 0
    capture = get_xsave(Output(4096, capture="state"))
    ran = execute(*WITH_CPUID, capture, set_xsave(bad), set_xsave(Captured("state")))
    assert ran.results[-2:] == [-errno.EINVAL, 0]


def test_a_patch_outside_the_output_breaks_the_scenario(execute):
    capture = get_xsave(Output(4096, capture="state"))
    ran = execute(*WITH_CPUID, capture, set_xsave(Captured("state", ((4095, b"ab"),))))
    assert ran.status == "broken"
    assert "patch lies outside" in ran.lines[-1]["traceback"]


def test_an_output_that_was_not_captured_breaks_the_scenario(execute):
    ran = execute(*VCPU, set_xsave(Captured("state")))
    assert ran.status == "broken"
    assert "there is no captured output named state" in ran.lines[-1]["traceback"]


def test_an_output_is_written_through_a_pointer(execute):
    # KVM_X86_XCOMP_GUEST_SUPP: a u64 at the address that the attribute names, at byte 16
    attribute = OutputBehind(struct.pack("=IIQQ", 0, 0, 0, 0), 16, 8)
    ran = execute(OPEN, Ioctl(ioctls.GET_DEVICE_ATTR.number, "kvm", attribute))
    assert ran.results[-1] == 0
    assert int.from_bytes(ran.output(-1)[24:], "little") & 3 == 3


def test_a_reply_of_any_length_is_reported_completely(execute):
    # The most that a document can ask for: LARGEST_SIZE entries of 40 bytes.
    room = 65536
    short = Output(8 + 40 * room, struct.pack("=II", room, 0))
    ran = execute(OPEN, Ioctl(ioctls.GET_SUPPORTED_CPUID.number, "kvm", short))
    assert ran.status == "done"
    assert len(ran.output(-1)) == 8 + 40 * room


# Names


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (Close(""), "descriptor"),
        (Ioctl(ioctls.GET_API_VERSION.number, "", Immediate(0)), "descriptor"),
        (Ioctl(ioctls.GET_XSAVE.number, "", Output(4096)), "descriptor"),
        (RunVcpu("", 0), "descriptor"),
        (OpenKvm(""), "descriptor"),
        (MapPayload("vm", ""), "memory"),
        (SharePayload("vm", ""), "memory"),
        (RunGuest("vcpu", "", command(PayloadOp.NOP), 0), "memory"),
        (set_xsave(Captured("")), "captured output"),
        (Spawn("", Relation.FORK), "task"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_empty_name_breaks_the_scenario(execute, call, kind):
    ran = execute(*VCPU, call)
    assert ran.status == "broken"
    assert kind in ran.lines[-1]["traceback"]


def test_a_name_that_json_has_to_escape_is_reported(execute):
    ran = execute(Close('a "quoted" \\ name'))
    assert 'a "quoted" \\ name' in ran.lines[-1]["traceback"]


def opened(count):
    return [OpenKvm(f"kvm{number}") for number in range(count)]


def test_a_scenario_may_bind_as_many_names_as_a_document_may(execute):
    assert execute(*opened(limits.MOST_DESCRIPTORS)).status == "done"


def test_one_name_more_breaks_the_scenario(execute):
    ran = execute(*opened(limits.MOST_DESCRIPTORS + 1))
    assert ran.status == "broken"
    assert (
        f"there are already {limits.MOST_DESCRIPTORS} names of a descriptor"
        in ran.lines[-1]["traceback"]
    )


def test_names_are_counted_separately_in_each_scenario():
    with raw_worker() as worker:
        ends = [worker.run(OpenKvm(f"kvm{n}")).status for n in range(limits.MOST_DESCRIPTORS + 8)]
    assert set(ends) == {"done"}


# Descriptors


def test_a_closed_descriptor_is_closed(execute):
    ran = execute(OPEN, Close("kvm"), OPEN)
    assert ran.results == [ran.results[0], 0, ran.results[0]]


def test_a_call_on_a_closed_descriptor_reaches_the_kernel(execute):
    assert execute(OPEN, Close("kvm"), GET_API_VERSION).results[-1] == -errno.EBADF


def test_a_call_on_an_unknown_descriptor_breaks_the_scenario(execute):
    ran = execute(GET_API_VERSION)
    assert ran.status == "broken"
    assert "there is no descriptor named kvm" in ran.lines[-1]["traceback"]


def test_a_vcpu_can_be_closed_and_another_made(execute):
    other = Ioctl(ioctls.CREATE_VCPU.number, "vm", Immediate(1), "vcpu")
    ran = execute(*VCPU, Close("vcpu"), other, RunVcpu("vcpu", 1))
    assert ran.results[3:] == [0, ran.results[2], -errno.EINTR]


def test_with_a_limit_no_descriptor_can_be_opened(execute):
    ran = execute(OPEN, LimitDescriptors(), CREATE_VM, GET_API_VERSION)
    assert ran.results[1:] == [0, -errno.EMFILE, 12]


# Processes


@pytest.mark.parametrize("by", ["", *ALL])
def test_a_bitmap_of_permissions_is_an_output(execute, by):
    spawn = [Spawn(by, by)] if by else []
    ran = execute(*spawn, ArchPrctl(GET_XCOMP_PERM, Output(8), by))
    assert ran.results[-1] == 0
    # x87 and SSE are always permitted: Documentation/arch/x86/xstate.rst
    assert int.from_bytes(ran.output(-1), "little") & 3 == 3


@pytest.mark.parametrize("by", ["", *ALL])
def test_a_bad_pointer_for_the_bitmap_is_efault(execute, by):
    spawn = [Spawn(by, by)] if by else []
    ran = execute(*spawn, ArchPrctl(GET_XCOMP_PERM, Immediate(0), by))
    assert ran.results[-1] == -errno.EFAULT


@pytest.mark.parametrize("by", ["", *ALL])
def test_an_alternate_stack_is_accepted_or_too_small(execute, by):
    spawn = [Spawn(by, by)] if by else []
    ran = execute(*spawn, SetAltStack(LARGE_STACK, by), SetAltStack(SMALL_STACK, by))
    assert ran.results[-2:] == [0, -errno.ENOMEM]


@pytest.mark.parametrize("by", MEMBERS)
def test_a_task_has_the_descriptors_opened_before_it(execute, by):
    call = Ioctl(ioctls.GET_API_VERSION.number, "kvm", Immediate(0), by=by)
    assert execute(OPEN, Spawn(by, by), call, GET_API_VERSION).results[2:] == [12, 12]


@pytest.mark.parametrize("by", [Relation.THREAD, Relation.SHARED_MM])
def test_a_task_that_shares_our_memory_can_use_the_vm(execute, by):
    ran = execute(
        Spawn(by, by),
        *WITH_CPUID,
        set_xsave(Literal(image(1)), by=by),
        get_xsave(Output(4096, capture="state"), by=by),
        set_xsave(Captured("state", ((0, b"\x7f"),)), by=by),
        set_xsave(SleepingLiteral(image()), by=by),
    )
    assert ran.results[-4:] == [0] * 4
    assert ran.output(-3)[XSTATE_BV_OFFSET] == 1


def test_a_task_with_its_own_memory_cannot_use_the_vm(execute):
    # virt/kvm/kvm_main.c: kvm_vcpu_ioctl: vcpu->kvm->mm != current->mm
    call = get_xsave(Output(4096), by="other")
    assert execute(*VCPU, Spawn("other", Relation.FORK), call).results[-1] == -errno.EIO


def test_a_descriptor_that_a_forked_task_opens_is_only_in_that_task(execute):
    vm = Ioctl(ioctls.CREATE_VM.number, "kvm", Immediate(0), "vm", by="other")
    vcpu = Ioctl(ioctls.CREATE_VCPU.number, "vm", Immediate(0), "vcpu", by="other")
    prepare = OPEN, Spawn("other", Relation.FORK), vm, vcpu
    ran = execute(*prepare, get_xsave(Output(4096, capture="state"), by="other"))
    assert ran.results[-1] == 0
    ran = execute(*prepare, get_xsave(Output(4096)))
    assert ran.status == "broken"


def test_a_forked_task_gets_an_output_that_was_captured_later(execute):
    ran = execute(
        OPEN,
        Spawn("other", Relation.FORK),
        Ioctl(ioctls.CREATE_VM.number, "kvm", Immediate(0), "vm", by="other"),
        Ioctl(ioctls.CREATE_VCPU.number, "vm", Immediate(0), "vcpu", by="other"),
        *WITH_CPUID[3:4],
        Ioctl(ioctls.SET_CPUID2.number, "vcpu", Captured("cpuid"), by="other"),
        Ioctl(ioctls.GET_CPUID2.number, "vcpu", SUPPORTED_CPUID, by="other"),
    )
    assert ran.results[-2:] == [0, 0]


def test_a_task_that_execs_cannot_make_ioctls(execute):
    call = Ioctl(ioctls.GET_API_VERSION.number, "kvm", Immediate(0), by="other")
    ran = execute(OPEN, Spawn("other", Relation.EXEC), call)
    assert ran.status == "broken"
    assert "can only make arch_prctl" in ran.lines[-1]["traceback"]


def test_a_call_by_an_unknown_task_breaks_the_scenario(execute):
    ran = execute(SetAltStack(LARGE_STACK, "other"))
    assert ran.status == "broken"
    assert "there is no task named other" in ran.lines[-1]["traceback"]


ENDLESS = (
    OPEN,
    CREATE_VM,
    MapMemory("vm", 0, RESET_PAGE, bytes(RESET_VECTOR) + JMP_SELF),
    VCPU[-1],
    RunVcpu("vcpu", 0),
)


@pytest.mark.parametrize("last", [GET_API_VERSION, ENDLESS[-1]], ids=["done", "killed"])
@pytest.mark.parametrize("relation", ALL)
def test_tasks_end_with_their_scenario(execute, relation, last):
    ran = execute(Spawn("other", relation), *ENDLESS[:-1], last, seconds=0.3)
    assert (ran.status == "timeout") == (last is ENDLESS[-1])
    assert ran.left == 1


def test_a_scenario_dies_of_the_signal_that_killed_its_task(execute):
    # KVM_RUN by a thread group with our memory, which we kill as an Oops would.
    by_other = Ioctl(ioctls.RUN.number, "vcpu", Immediate(0), by="other")
    calls = (*ENDLESS[:-1], Spawn("other", Relation.SHARED_MM), by_other)
    with raw_worker() as worker, ThreadPoolExecutor() as pool:
        running = pool.submit(worker.run, *calls)
        task = None
        while task is None:
            family = psutil.Process(worker.pid).children(recursive=True)
            task = family[2] if len(family) > 2 else None
            time.sleep(0.01)
        task.send_signal(signal.SIGKILL)
        assert running.result().end["signal"] == signal.SIGKILL


# Sleeping


def test_a_literal_can_arrive_while_the_kernel_sleeps(execute):
    ran = execute(
        *WITH_CPUID,
        set_xsave(SleepingLiteral(image(1))),
        get_xsave(Output(4096)),
        set_xsave(SleepingLiteral(image(3))),
        get_xsave(Output(4096)),
    )
    assert (ran.status, ran.results[-4:]) == ("done", [0] * 4)
    assert ran.output(-3)[XSTATE_BV_OFFSET] == 1


def test_a_sleeping_call_ends_if_the_kernel_never_reads(execute):
    ran = execute(OPEN, Ioctl(ioctls.SET_XSAVE.number, "kvm", SleepingLiteral(image())))
    assert (ran.status, ran.results[-1]) == ("done", -errno.EINVAL)


def test_without_userfaultfd_a_sleeping_call_is_broken(execute):
    ran = execute(*VCPU, LimitDescriptors(), set_xsave(SleepingLiteral(image())))
    assert ran.status == "broken"
    assert "needs userfaultfd" in ran.lines[-1]["traceback"]
    assert os.strerror(errno.EMFILE) in ran.lines[-1]["traceback"]


# The guest payload


def test_the_payload_runs_or_ends_with_an_exit_reason(execute):
    run = RunGuest("vcpu", "ram", command(PayloadOp.READ_CR4), 0)
    ran = execute(*PAYLOAD, run)
    result = PayloadResult.parse(ran.output(-1))
    # Where guests have no long mode, KVM's emulator gives up.
    assert (ran.results[-1], result.sequence) in ((0, 1), (KvmExit.INTERNAL_ERROR, 0))


def test_a_payload_that_cannot_enter_long_mode_shuts_down(execute):
    # Without CPUID the guest may not set EFER.LME.
    run = RunGuest("vcpu", "ram", command(PayloadOp.NOP), 0)
    assert execute(*VCPU, MapPayload("vm", "ram"), run).results[-1] == KvmExit.SHUTDOWN


def test_a_commands_data_is_reported_although_the_guest_cannot_run(execute):
    run = RunGuest("vcpu", "ram", command(PayloadOp.NOP, Registers(), data=b"data"), 6)
    ran = execute(*VCPU, MapPayload("vm", "ram"), run)
    assert ran.output(-1) == bytes(RESULT_SIZE) + b"data\0\0"


def test_the_payloads_memory_can_be_shared_with_another_vm(execute):
    other = Ioctl(ioctls.CREATE_VM.number, "kvm", Immediate(0), "other")
    assert execute(*PAYLOAD, other, SharePayload("other", "ram")).results[-1] == 0


def test_memory_that_was_not_mapped_breaks_the_scenario(execute):
    ran = execute(*VCPU, RunGuest("vcpu", "ram", command(PayloadOp.NOP), 0))
    assert ran.status == "broken"
    assert "there is no memory named ram" in ran.lines[-1]["traceback"]


def test_more_data_than_the_payload_has_is_refused(execute):
    with pytest.raises(ScenarioError, match="too much data"):
        execute(RunGuest("vcpu", "ram", command(PayloadOp.NOP), 0x4001))


# What the zygote keeps


# KVM_GET_SUPPORTED_CPUID returns the APIC ID of the CPU that it ran on; the MSR list does not vary.
MSR_INDICES = Output(4 + 4 * 1024, struct.pack("=I", 1024), "msr_index_list")


def test_an_output_that_was_reported_is_reported_by_number():
    call = Ioctl(ioctls.GET_MSR_INDEX_LIST.number, "kvm", MSR_INDICES)
    with raw_worker() as worker:
        new, again = (worker.run(OPEN, call).lines[1]["r"][0] for _ in range(2))
    assert (new[:2], len(new), again) == ([0, 1], 3, [0, 1])


def test_a_worker_that_forgets_knows_neither_calls_nor_outputs():
    call = Ioctl(ioctls.GET_MSR_INDEX_LIST.number, "kvm", MSR_INDICES)
    with raw_worker() as worker:
        worker.run(OPEN, call)
        worker.forget()
        assert worker.run(OPEN, call).lines[1]["r"][0][:2] == [0, 1]


@given(data=st.binary(max_size=2000) | st.binary(max_size=40).map(lambda some: some + bytes(99)))
@settings(max_examples=100, deadline=None)
def test_bytes_come_back_as_they_were_sent(kept_worker, data):
    run = RunGuest("vcpu", "ram", command(PayloadOp.NOP, Registers(), data=data), len(data))
    kept_worker.forget()
    ran = kept_worker.run(*VCPU, MapPayload("vm", "ram"), run)
    assert ran.output(-1)[RESULT_SIZE:] == data
