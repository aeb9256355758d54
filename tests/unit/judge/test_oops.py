"""An Oops in a task of the scenario: the golden log of 6.12.43, without a panic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmprobe.judge.verdicts import judged
from kvmprobe.reports.excerpt import crash_text
from kvmprobe.results.hang import Hang, HungTask
from kvmprobe.results.record import Target
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST

GOLDEN = Path(__file__).parents[2] / "golden/console/6.12.43-xfd-then-xsave.log"
TEXT = GOLDEN.read_text().partition("\n\n")[2].partition("Kernel panic")[0]
# Its task, by its CPU line: "CPU: 0 UID: 0 PID: 119 Comm: xfd".
LOG = tuple(line.partition("] ")[2] for line in TEXT.splitlines())
WARNING_ONLY = LOG[: next(n for n, line in enumerate(LOG) if "Oops" in line)]
SCENARIO = next(s for s in catalog.scenarios(AMX_HOST) if s.id.startswith("permission."))
TARGET = Target("host", "6.12.43", "")
TRACE = trace_of(SCENARIO, AMX_HOST)


def waiting(name, tid=118):
    task = HungTask(118, tid, name, "S (sleeping)", "do_poll", "7 0x0", ("[<0>] do_poll+0x1/0x2",))
    return Hang((task,))


def record(end, log, hang=None):
    steps = TRACE.steps[:1]
    trace = replace(TRACE, steps=steps, end=end, end_note="note", hang=hang, last_log=log)
    return judged(SCENARIO, AMX_HOST, trace, TARGET)


@pytest.mark.parametrize("hang", [waiting("xfd"), waiting("other", 119)], ids=["name", "thread"])
def test_a_thread_killed_by_an_oops_is_a_crash_not_a_time_out(hang):
    found = record(End.TIMEOUT, LOG, hang)
    assert found.verdict is Verdict.CRASHED
    assert (found.crash.headline, found.crash.function) == (
        "Oops: unexpected #NM exception: 0000 [#1] PREEMPT SMP NOPTI",
        "restore_fpregs_from_fpstate",
    )


def test_a_crash_names_the_task_that_the_kernel_killed():
    found = record(End.TIMEOUT, LOG, waiting("xfd"))
    assert crash_text(found.crash).startswith("the kernel killed xfd (119): Oops: unexpected #NM")


def test_the_crash_is_in_the_step_that_did_not_end():
    found = record(End.TIMEOUT, LOG, waiting("xfd"))
    assert (found.crash.step, found.crash.during) == (1, SCENARIO.steps[1].op)


def test_a_process_killed_by_an_oops_is_a_crash():
    assert record(End.SIGNAL, LOG).crash.victim == "xfd (119)"


def test_an_oops_of_another_process_leaves_a_time_out():
    found = record(End.TIMEOUT, LOG, waiting("other"))
    assert (found.verdict, found.crash) == (Verdict.TIMED_OUT, None)


def test_a_warning_is_not_a_crash():
    found = record(End.TIMEOUT, WARNING_ONLY, waiting("xfd"))
    assert (found.verdict, found.crash) == (Verdict.TIMED_OUT, None)


def test_a_signal_without_an_oops_has_no_crash():
    assert record(End.SIGNAL, ()).crash is None


def test_an_unkillable_task_is_shown_with_state_and_location():
    stuck = HungTask(7, 8, "python", "D (disk sleep)", "kvm_vcpu_load", "running")
    assert Hang((stuck,), (stuck,)).note("no end within 10 s") == (
        "unkillable: no end within 10 s, and SIGKILL did not end "
        "python (thread 8): D (disk sleep), in kvm_vcpu_load"
    )
