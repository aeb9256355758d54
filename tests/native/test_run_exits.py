"""Exits of real-mode guests on a real /dev/kvm."""

from __future__ import annotations

import errno
import signal
import sys
import threading

import pytest

from kvmprobe.bindings import (
    Capability,
    DebugControl,
    DebugExit,
    EventFlag,
    HltExit,
    IoDirection,
    IoExit,
    KernelCallError,
    KvmExit,
    LayoutError,
    MemoryFlag,
    MmioDirection,
    MmioExit,
    MsrReadExit,
    MsrWriteExit,
    RunMode,
    ShutdownExit,
    VcpuEvents,
)

# Reads, writes and unknown MSRs: KVM_MSR_EXIT_REASON_INVAL, _UNKNOWN, _FILTER
EVERY_MSR_REASON = 0b111
UNKNOWN_MSR = 0x1122
HLT = b"\xf4"


def test_a_sum_comes_out_of_the_port(vcpu, guest):
    guest(bytes.fromhex("00d8 e610 f4"), rax=2, rbx=3)  # add al, bl; out 0x10, al; hlt
    assert vcpu.run() == IoExit(IoDirection.OUT, 0x10, 1, 1, b"\x05")


def test_the_guest_continues_after_an_out(vcpu, guest):
    guest(bytes.fromhex("e610 f4"))
    vcpu.run()
    assert vcpu.run() == HltExit()


def test_what_the_guest_reads_from_a_port_is_the_answer(vcpu, guest):
    guest(bytes.fromhex("e560 f4"))  # in ax, 0x60; hlt
    assert vcpu.run() == IoExit(IoDirection.IN, 0x60, 2, 1, b"")
    vcpu.answer_read(b"\x34\x12")
    vcpu.run()
    assert vcpu.get_regs().rax & 0xFFFF == 0x1234


def test_what_the_guest_reads_from_mmio_is_the_answer(vm, vcpu, guest):
    guest(bytes.fromhex("66 a1 0000 f4"))  # mov eax, [0]; hlt
    sregs = vcpu.get_sregs()
    sregs.ds.base = 0xFEE0_0000
    vcpu.set_sregs(sregs)
    assert vcpu.run() == MmioExit(MmioDirection.READ, 0xFEE0_0000, 4, b"")
    vcpu.answer_read(b"\x78\x56\x34\x12")
    vcpu.run()
    assert vcpu.get_regs().rax == 0x1234_5678


def test_the_exit_has_what_the_guest_writes_to_mmio(vcpu, guest):
    guest(bytes.fromhex("a20000 f4"), rax=0x41)  # mov [0], al; hlt
    sregs = vcpu.get_sregs()
    sregs.ds.base = 0xFEE0_0000
    vcpu.set_sregs(sregs)
    assert vcpu.run() == MmioExit(MmioDirection.WRITE, 0xFEE0_0000, 1, b"A")


def test_a_write_to_read_only_memory_is_mmio(vm, vcpu, guest):
    memory = guest(bytes.fromhex("a20020 f4"), rax=0x41)  # mov [0x2000], al; hlt
    vm.delete_memory_region(0)
    vm.set_user_memory_region(0, 0, memory, MemoryFlag.READONLY)
    assert vcpu.run() == MmioExit(MmioDirection.WRITE, 0x2000, 1, b"A")


def test_another_number_of_bytes_is_refused(vcpu, guest):
    guest(bytes.fromhex("e560 f4"))
    vcpu.run()
    with pytest.raises(LayoutError, match="reads 2 bytes, not 1"):
        vcpu.answer_read(b"\x34")


def test_a_triple_fault_is_a_shutdown(kvm, vm, vcpu, guest):
    if not kvm.check_extension(Capability.X86_TRIPLE_FAULT_EVENT):
        pytest.skip("KVM has no X86_TRIPLE_FAULT_EVENT")
    vm.enable_cap(Capability.X86_TRIPLE_FAULT_EVENT, 1)
    guest(HLT)
    events = VcpuEvents(flags=EventFlag.TRIPLE_FAULT)
    events.triple_fault.pending = 1
    vcpu.set_vcpu_events(events)
    assert vcpu.run() == ShutdownExit()


def test_an_unknown_msr_is_answered_by_user_space(vm, vcpu, guest):
    vm.enable_cap(Capability.X86_USER_SPACE_MSR, EVERY_MSR_REASON)
    guest(bytes.fromhex("0f32 f4"), rcx=UNKNOWN_MSR)  # rdmsr; hlt
    assert vcpu.run() == MsrReadExit(2, UNKNOWN_MSR)
    vcpu.answer_read((0x11_0000_0022).to_bytes(8, "little"))
    vcpu.run()
    regs = vcpu.get_regs()
    assert (regs.rdx, regs.rax) == (0x11, 0x22)


def test_the_exit_has_a_written_unknown_msr(vm, vcpu, guest):
    vm.enable_cap(Capability.X86_USER_SPACE_MSR, EVERY_MSR_REASON)
    guest(bytes.fromhex("0f30 f4"), rcx=UNKNOWN_MSR, rdx=0x11, rax=0x22)  # wrmsr; hlt
    assert vcpu.run() == MsrWriteExit(2, UNKNOWN_MSR, 0x11_0000_0022)


def test_a_refused_msr_is_a_fault_in_the_guest(vm, vcpu, guest):
    vm.enable_cap(Capability.X86_USER_SPACE_MSR, EVERY_MSR_REASON)
    memory = guest(bytes.fromhex("0f32"), rcx=UNKNOWN_MSR)
    # SDM vol.3 22.1.4: the handler of #GP, vector 13, by the interrupt table of real mode
    memory[13 * 4 : 13 * 4 + 4] = (0x2000).to_bytes(4, "little")
    memory[0x2000:0x2001] = HLT
    vcpu.run()
    vcpu.refuse_msr()
    assert (vcpu.run(), vcpu.get_regs().rip) == (HltExit(), 0x2001)


def test_a_single_step_stops_after_the_instruction(vcpu, guest):
    guest(b"\x90\x90" + HLT)
    vcpu.set_guest_debug(DebugControl.ENABLE | DebugControl.SINGLESTEP)
    stopped = vcpu.run()
    assert isinstance(stopped, DebugExit)
    assert (stopped.exception, stopped.pc) == (1, 0x1001)


def test_a_hardware_breakpoint_stops_at_its_address(vcpu, guest):
    guest(b"\x90\x90" + HLT)
    # SDM vol.3 18.2.4: DR7 bit 0 enables the breakpoint of DR0.
    debugreg = (0x1002, 0, 0, 0, 0, 0, 0, 1)
    vcpu.set_guest_debug(DebugControl.ENABLE | DebugControl.USE_HW_BP, debugreg)
    stopped = vcpu.run()
    assert isinstance(stopped, DebugExit)
    assert stopped.pc == 0x1002


def test_a_signal_ends_a_guest_that_never_does(vcpu, guest):
    guest(b"\xeb\xfe")  # jmp to itself
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KernelCallError) as caught:
            vcpu.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught.value.errno == errno.EINTR


def test_another_thread_runs_while_a_guest_runs_and_stops_it(vcpu, guest):
    guest(b"\xeb\xfe")
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    ended = []

    def run():
        try:
            vcpu.run()
        except KernelCallError as error:
            ended.append(error.errno)

    runner = threading.Thread(target=run)
    try:
        runner.start()
        vcpu.stop_runs()
        signal.pthread_kill(runner.ident, signal.SIGUSR1)
        runner.join(timeout=10)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended == [errno.EINTR]


def test_a_stopped_vcpu_runs_again_when_it_may(vcpu, guest):
    guest(HLT)
    vcpu.stop_runs()
    with pytest.raises(KernelCallError, match="EINTR"):
        vcpu.run()
    vcpu.stop_runs(RunMode.REAL)
    assert vcpu.run() == HltExit()


def test_an_immediate_exit_is_one_run(vcpu, guest):
    guest(HLT)
    with pytest.raises(KernelCallError, match="EINTR"):
        vcpu.run(RunMode.IMMEDIATE_EXIT)
    assert vcpu.run() == HltExit()


def test_an_immediate_exit_does_not_cancel_an_earlier_stop(vcpu, guest):
    guest(HLT)
    vcpu.stop_runs()
    with pytest.raises(KernelCallError, match="EINTR"):
        vcpu.run(RunMode.IMMEDIATE_EXIT)
    with pytest.raises(KernelCallError, match="EINTR"):
        vcpu.run()


def test_a_stop_during_an_immediate_exit_is_not_cancelled(vcpu, guest):
    guest(HLT)

    def stop(frame, _event, _argument):
        # The run is over and is about to clear the byte.
        if frame.f_code.co_name == "set_immediate_exit" and frame.f_locals["value"] == RunMode.REAL:
            sys.setprofile(None)
            vcpu.stop_runs()

    sys.setprofile(stop)
    try:
        with pytest.raises(KernelCallError, match="EINTR"):
            vcpu.run(RunMode.IMMEDIATE_EXIT)
    finally:
        sys.setprofile(None)
    with pytest.raises(KernelCallError, match="EINTR"):
        vcpu.run()


def test_the_reason_stays_readable(vcpu, guest):
    guest(HLT)
    vcpu.run()
    assert vcpu.exit_reason == KvmExit.HLT


def test_a_vcpu_that_waits_to_be_started_is_eagain(vm):
    # arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run: KVM_MP_STATE_UNINITIALIZED, until a signal
    vm.create_irqchip()
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    with vm.create_vcpu(0), vm.create_vcpu(1) as second:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            with pytest.raises(KernelCallError) as caught:
                second.run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert caught.value.errno in {errno.EAGAIN, errno.EINTR}
