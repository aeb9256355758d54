"""Scenarios that do not end: what is reported about their tasks, and how they are killed."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from kvmprobe.errors import HostStuck
from kvmprobe.execution.driver import Driver, Request, Timing, TraceLostError
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.judge.verdicts import judged
from kvmprobe.progress import Silent
from kvmprobe.results.record import Target
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.calls import Relation, RunVcpu, Spawn
from tests.support.places import ENDLESS, RawCall, WatchedHost, child_of, freezer, quick, sequence

TARGET = Target("host", "", "")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may read a kernel stack")
IN_THE_GUEST_SECONDS = 0.05


@pytest.fixture
def host(examined):
    return examined.profile


@pytest.fixture
def link():
    with LocalLink() as opened:
        yield opened


def hung(link, host, scenario=ENDLESS, seconds=0.5):
    ((_, trace),) = Driver(link, quick(seconds)).traces([Request(scenario, gate=1)], host)
    return trace


def test_a_hang_is_in_the_step_that_did_not_end(link, host):
    record = judged(ENDLESS, host, hung(link, host), TARGET)
    assert (record.hang.step, record.hang.during) == (4, ENDLESS.steps[4].op)


def test_a_step_has_a_deadline_of_its_own(link, host):
    driver = Driver(link, Timing(scenario=60.0, step=0.5))
    ((_, trace),) = driver.traces([Request(ENDLESS, gate=1)], host)
    assert (trace.end, trace.end_note) == (End.TIMEOUT, "step 4 did not end within 0.5 s")


def test_a_step_has_no_more_time_than_its_scenario(link, host):
    driver = Driver(link, Timing(scenario=0.5, step=60.0))
    ((_, trace),) = driver.traces([Request(ENDLESS, gate=1)], host)
    assert trace.end_note == "the scenario did not end within 0.5 s"


@pytest.fixture
def stopped(link, host):
    driver = Driver(link, quick(0.5))
    stopper = threading.Thread(target=lambda: child_of(link.pid).send_signal(signal.SIGSTOP))
    stopper.start()
    ((_, trace),) = driver.traces([Request(ENDLESS, gate=1)], host)
    stopper.join()
    return judged(ENDLESS, host, trace, TARGET).hang


def test_a_stopped_scenario_is_reported_as_stopped_and_killed(stopped):
    # T is "stopped": Documentation/filesystems/proc.rst
    assert (stopped.tasks[0].state, stopped.unkillable) == ("T (stopped)", ())


@root
def test_a_hang_in_the_kernel_is_reported_with_its_stack(stopped):
    # A task that sleeps in the kernel: kernel/signal.c: get_signal, do_signal_stop.
    assert any("signal" in frame for frame in stopped.tasks[0].stack)


@pytest.mark.parametrize("relation", [Relation.FORK, Relation.SHARED_MM], ids=lambda r: r.name)
def test_the_tasks_of_a_hang_are_reported(link, host, relation):
    calls = (*(step.op.lower(host) for step in ENDLESS.steps[:-1]), Spawn("other", relation))
    scenario = sequence("test.task", *map(RawCall, calls), RawCall(RunVcpu("vcpu0", 0)))
    trace = hung(link, host, scenario)
    assert len({task.pid for task in trace.hang.tasks}) == 2


@pytest.fixture
def frozen():
    """Freezes the one child of a worker; thaws at the end, when SIGKILL ends it at last."""
    group = freezer()
    if group is None:
        pytest.skip("this machine has no freezer of cgroup v1")

    def freeze(link):
        (group / "tasks").write_text(str(child_of(link.pid).pid))
        (group / "freezer.state").write_text("FROZEN")

    yield freeze
    (group / "freezer.state").write_text("THAWED")
    while (group / "tasks").read_text():
        pass
    group.rmdir()


@pytest.fixture
def unkillable(frozen, link, host):
    driver = Driver(link, quick(1.0))

    def freeze_in_the_guest():
        # Only the guest, which never exits, takes so long: all calls before it have returned.
        while sum(child_of(link.pid).cpu_times()[:2]) < IN_THE_GUEST_SECONDS:
            pass
        frozen(link)

    freezer_thread = threading.Thread(target=freeze_in_the_guest)
    freezer_thread.start()
    with pytest.raises(TraceLostError) as caught:
        list(driver.traces([Request(ENDLESS, gate=1)] * 3, host))
    freezer_thread.join()
    return caught.value


def test_a_task_that_cannot_be_killed_is_reported_and_loses_nothing(unkillable, host):
    # "D is in uninterruptible sleep": Documentation/filesystems/proc.rst
    assert [task.state for task in unkillable.unkillable][:1] == ["D (disk sleep)"]
    record = judged(ENDLESS, host, unkillable.trace, TARGET)
    assert record.verdict is Verdict.TIMED_OUT
    assert record.reason.startswith(
        "unkillable: the scenario did not end within 1 s, and SIGKILL did not end "
    )
    assert len(record.steps) == len(ENDLESS.steps) - 1


class FreezesTheFirst(Silent):
    """Freezes the first scenario that runs after the probes."""

    def __init__(self, place, freeze):
        self.place = place
        self.freeze = freeze
        self.thread = None

    def stage(self, text):
        if text.endswith(": scenarios"):
            self.thread = threading.Thread(target=self.freeze, args=(self.place.links[-1],))
            self.thread.start()


def test_a_run_on_a_host_with_an_unkillable_task_records_it_and_stops(frozen):
    place, records = WatchedHost(timing=quick(1.0)), []
    progress = FreezesTheFirst(place, frozen)
    runner = Runner(place, Hazardous.STOP, records.append, progress)
    later = sequence("test.later", *(step.op for step in ENDLESS.steps[:2]))
    with pytest.raises(HostStuck, match="reboot, then continue with `kvmprobe resume DIR`"):
        runner.run(lambda _: True, lambda _: [ENDLESS, later])
    progress.thread.join()
    assert [(r.id, r.verdict) for r in records] == [("test.endless", Verdict.TIMED_OUT)]
    assert list(runner.remaining) == ["test.later"]
