from dataclasses import replace

from kvmprobe.reports.bug_report.log import trimmed_log
from kvmprobe.results.record import Crash
from tests.support.fake_runs import CRASH
from tests.support.runs import HOSTILE


def test_what_died_where_and_called_by_whom_is_all_that_is_left():
    assert trimmed_log(CRASH) == [
        "  WARNING: arch/x86/kernel/traps.c:1519 at exc_device_not_available+0xdc/0xf0, CPU#0",
        "  Oops: unexpected #NM exception: 0000 [#1] SMP NOPTI",
        "  RIP: 0010:restore_fpregs_from_fpstate+0x45/0x90",
        "  Call Trace:",
        "   fpu_swap_kvm_fpstate+0x71/0x110",
        "   kvm_arch_vcpu_ioctl_run+0x535/0x1880 [kvm]",
        "  Kernel panic - not syncing: Fatal exception",
    ]


def test_the_line_that_names_the_kernel_stays():
    line = "CPU: 0 UID: 0 PID: 1 Comm: python Tainted: G        W   7.3.4 #1"
    crash = replace(CRASH, report=f"{CRASH.headline}\n[    2.9] {line}\n")
    assert f"  {line}" in trimmed_log(crash)


def test_a_report_in_which_nothing_tells_comes_down_to_its_headline():
    assert trimmed_log(Crash(0, None, "it died", "", (), "noise\nnoise")) == ["  it died"]


def test_control_characters_of_a_log_are_escaped():
    lines = [f"{CRASH.headline}", *(f"WARNING: {line}" for line in HOSTILE)]
    shown = trimmed_log(replace(CRASH, report="\n".join(lines)))
    assert all(line.isprintable() for line in shown)
    assert any(r"\x1b[2J" in line for line in shown)


def test_a_log_without_end_is_cut():
    lines = [f"WARNING: number {n}" for n in range(100)]
    shown = trimmed_log(replace(CRASH, report="\n".join(lines)))
    assert len(shown) == 41
    assert shown[-1] == "  [...]"
