"""kernel contract section 12: what a correct kernel does not print."""

import pytest

from kvmprobe.abi.log_records import LOST_RECORDS
from kvmprobe.judge.log_signatures import violations


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: CPU: 0 PID: 1 at arch/x86/kernel/traps.c:1151 exc_device_not_available",
        "unexpected #NM exception: 0000 [#1] PREEMPT SMP NOPTI",
        "Kernel panic - not syncing: Fatal exception in interrupt",
        "Bad FPU state detected at restore_fpregs, reinitializing FPU registers.",
        "XFD: Invalid xfd error: 0000000000040000",
        "unchecked MSR access error: WRMSR to 0x1c4 (tried to write 0x0000000000020000)",
        "XSAVE consistency problem: size 2696 != kernel_size 0",
        "kernel BUG at arch/x86/kernel/fpu/xstate.c:1234!",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
        "BUG: unable to handle page fault for address: ffffffffdeadbeef",
        "Oops: general protection fault, 0000 [#1]",
        "divide error: 0000 [#1] PREEMPT SMP NOPTI",
        "UBSAN: array-index-out-of-bounds in arch/x86/kvm/x86.c:1:2",
    ],
)
def test_a_message_that_is_a_violation(line):
    assert violations(["fine", line]) == [line]


@pytest.mark.parametrize(
    "line",
    [
        # not a kernel message: it does not depend on the scenario
        LOST_RECORDS,
        # live 18: not a violation
        "debugfs: Directory '1234-11' with parent 'kvm' already present!",
        "KVM: debugfs: duplicate directory 1234-11",
        "x86/fpu: Supporting XSAVE feature 0x40000: 'AMX Tile data'",
        "x86/fpu: Enabled xstate features 0x602e7, context size is 11008 bytes",
        "kvm: debug: vcpu 0 created",
        "Calibrating delay using timer specific routine.. (lpj=4000000 loops)",
        # other tasks, and a loaded machine
        "INFO: task nfsd:80 blocked for more than 120 seconds.",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "audit: type=1400 audit(1.0:1): apparmor=",
    ],
)
def test_a_message_that_is_not_a_violation(line):
    assert violations([line]) == []
