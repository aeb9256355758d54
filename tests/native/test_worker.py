"""The worker's protocol when children or workers come to grief."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from kvmprobe.errors import WorkerError
from kvmprobe.execution.driver import Driver, Request, Timing
from kvmprobe.execution.link import LinkLostError
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.judge.verdicts import judged
from kvmprobe.progress import Silent
from kvmprobe.results.record import Target
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.ops.lifecycle import OpenKvm
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.hosts import AMX_HOST
from tests.support.places import ENDLESS, FLOOD, MISTAKEN, WatchedHost, child_of, quick

ROOT = Path(__file__).parents[2]
TARGET = Target("host", "", "")
QUIET = Scenario("a.b", "b", "", (ScenarioStep(OpenKvm()),))


@pytest.fixture
def host(examined):
    return examined.profile


@pytest.fixture
def plain(host):
    return next(s for s in catalog.scenarios(host) if not s.needs_amx)


@pytest.fixture
def link():
    with LocalLink() as opened:
        yield opened


def only_trace(driver, scenario, host):
    ((_, trace),) = driver.traces([Request(scenario, gate=1)], host)
    return trace


def gone(pid):
    """Whether a process, and with it all that it kept, ends within 10 s."""
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_the_worker_greets_before_anything_is_asked(link):
    assert re.match(r'\{"ready":', link.receive(60))


def test_a_scenario_is_traced_to_its_end(link, host, plain):
    trace = only_trace(Driver(link, Timing()), plain, host)
    assert (trace.end, len(trace.steps)) == (End.DONE, len(plain.steps))


def test_traces_come_in_the_order_of_the_requests(link, host, plain):
    scenarios = [s for s in catalog.scenarios(host) if not s.needs_amx][:40]
    requests = [Request(s, gate=1) for s in scenarios]
    found = [request for request, _ in Driver(link, Timing()).traces(requests, host)]
    assert found == requests


def test_a_child_that_hangs_ends_at_its_deadline(link, host):
    trace = only_trace(Driver(link, quick(0.3)), ENDLESS, host)
    assert (trace.end, trace.end_note) == (End.TIMEOUT, "the scenario did not end within 0.3 s")


def test_a_child_that_hangs_is_not_left_behind(link, host):
    only_trace(Driver(link, quick(0.3)), ENDLESS, host)
    (zygote,) = psutil.Process(link.pid).children()
    assert zygote.children() == []


def test_a_child_that_hangs_is_timed_out_in_the_record(link, host):
    trace = only_trace(Driver(link, quick(0.3)), ENDLESS, host)
    assert judged(ENDLESS, host, trace, TARGET).verdict is Verdict.TIMED_OUT


def test_the_steps_before_the_hang_are_told(link, host):
    trace = only_trace(Driver(link, quick(0.3)), ENDLESS, host)
    assert len(trace.steps) == len(ENDLESS.steps) - 1


def test_the_next_scenario_runs_after_a_hang(link, host, plain):
    driver = Driver(link, quick(0.5))
    requests = [Request(ENDLESS, gate=1), Request(plain, gate=1)]
    assert [t.end for _, t in driver.traces(requests, host)] == [End.TIMEOUT, End.DONE]


def killed_by(link, host, number):
    killer = threading.Thread(target=lambda: child_of(link.pid).send_signal(number))
    killer.start()
    trace = only_trace(Driver(link, Timing()), ENDLESS, host)
    killer.join()
    return trace


def test_a_child_killed_by_a_signal_that_is_not_ours_is_reported_by_number(link, host):
    trace = killed_by(link, host, signal.SIGKILL)
    assert (trace.end, trace.end_note) == (End.SIGNAL, "killed by signal 9")
    assert judged(ENDLESS, host, trace, TARGET).verdict is Verdict.CRASHED


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL])
def test_a_fault_of_the_executor_is_not_a_finding_about_the_kernel(link, host, number):
    trace = killed_by(link, host, number)
    assert f"the executor received signal {int(number)}" in trace.end_note
    assert judged(ENDLESS, host, trace, TARGET).verdict is Verdict.BROKEN


def test_a_worker_without_its_zygote_reports_it(host):
    with LocalLink() as link:
        driver = Driver(link, Timing())
        # A call without output: a new output would make the worker fork another zygote.
        only_trace(driver, QUIET, host)
        (zygote,) = psutil.Process(link.pid).children()
        zygote.kill()
        assert gone(zygote.pid)
        with pytest.raises(LinkLostError, match="the process that forks scenarios has died"):
            only_trace(driver, QUIET, host)


def test_a_scenario_ends_with_its_zygote(link, host):
    Driver(link, Timing())._submit(0, Request(ENDLESS, gate=1), host)
    child = child_of(link.pid)
    child.parent().kill()
    assert gone(child.pid)


def test_a_worker_that_writes_much_to_stderr_is_not_blocked(monkeypatch):
    # Each import is a few lines there, all together more than a pipe holds.
    monkeypatch.setenv("PYTHONVERBOSE", "2")
    with LocalLink() as link:
        assert '"ready"' in link.receive(60)


def test_a_mistaken_scenario_is_broken_and_says_where(link, host):
    trace = only_trace(Driver(link, Timing()), MISTAKEN, host)
    expected = "step 0: there is no descriptor named vcpu0: no earlier call has bound this name"
    assert (trace.end, trace.end_note) == (End.BROKEN, expected)


def test_a_mistaken_scenario_is_no_finding_about_the_kernel(link, host):
    trace = only_trace(Driver(link, Timing()), MISTAKEN, host)
    assert judged(MISTAKEN, host, trace, TARGET).verdict is Verdict.BROKEN


def test_a_worker_that_is_killed_is_lost(link):
    Driver(link, Timing())
    os.kill(link.pid, signal.SIGKILL)
    with pytest.raises(LinkLostError, match="killed by signal 9"):
        link.receive(10)


def test_a_silent_worker_is_hung_not_gone(link):
    Driver(link, Timing())
    with pytest.raises(LinkLostError) as caught:
        link.receive(0.1)
    assert caught.value.hung


def test_what_is_no_greeting_is_refused(link):
    link.receive(60)
    link.send("R 0 0 0 1 1 ")
    with pytest.raises(WorkerError, match="not its greeting"):
        Driver(link, Timing())


def test_a_link_can_be_closed_after_its_worker_died():
    with LocalLink() as link:
        link.receive(60)
        os.kill(link.pid, signal.SIGKILL)
        with pytest.raises(LinkLostError):
            link.receive(60)
    assert gone(link.pid)


def test_closing_a_link_closes_nothing_of_the_next_one(host, plain):
    # A fresh link takes the descriptor numbers that the closed one had.
    with LocalLink() as first:
        Driver(first, Timing())
    with LocalLink() as second:
        driver = Driver(second, Timing())
        del first
        assert only_trace(driver, plain, host).end is End.DONE


def test_no_process_is_left_after_the_link_is_closed_during_a_scenario(host):
    with LocalLink() as link:
        driver = Driver(link, Timing())
        driver._submit(0, Request(ENDLESS, gate=1), host)
        child = child_of(link.pid)
    assert gone(child.pid)


IDLE_PARENT = """
from kvmprobe.execution.local_link import LocalLink
with LocalLink() as link:
    link.receive(60)
    print(link.pid, flush=True)
    link.receive(600)
"""
BUSY_PARENT = """
from kvmprobe.execution.driver import Driver, Request, Timing
from kvmprobe.execution.local_link import LocalLink
from tests.support.hosts import AVX512_HOST
from tests.support.places import ENDLESS, child_of
with LocalLink() as link:
    driver = Driver(link, Timing(scenario=600))
    driver._submit(0, Request(ENDLESS, gate=1), AVX512_HOST)
    for _ in ENDLESS.steps[:-1]:
        link.receive(60)
    print(child_of(link.pid).pid, flush=True)
    link.receive(600)
"""


@pytest.mark.parametrize("script", [IDLE_PARENT, BUSY_PARENT], ids=["worker", "child"])
def test_no_process_is_left_after_the_parent_is_killed(script):
    # The parent cannot clean up; the kernel sends the worker, or its child, a signal.
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    ended = gone(pid)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    assert ended


def run_with_a_worker_killed_after(count, host):
    """Run 40 scenarios; the worker dies when the record of number ``count`` arrives."""
    place, records = WatchedHost(), []
    wanted = {s.id for s in [s for s in catalog.scenarios(host) if not s.needs_amx][:40]}

    def sink(record):
        records.append(record)
        if len(records) == count:
            os.kill(place.links[-1].pid, signal.SIGKILL)

    Runner(place, Hazardous.STOP, sink, Silent()).run(wanted.__contains__)
    return place, records, wanted


@pytest.fixture(scope="module")
def interrupted(examined):
    return run_with_a_worker_killed_after(5, examined.profile)


def test_every_scenario_is_recorded_once_although_a_worker_died(interrupted):
    _, records, wanted = interrupted
    assert sorted(r.id for r in records) == sorted(wanted)


def test_the_scenario_under_way_when_the_worker_died_is_broken(interrupted):
    _, records, _ = interrupted
    broken = [r for r in records if r.verdict is Verdict.BROKEN]
    assert len(broken) == 1
    assert "the worker was killed by signal 9 (Killed)" in broken[0].reason


def test_the_remaining_scenarios_pass_with_a_fresh_worker(interrupted):
    place, records, _ = interrupted
    assert (len(place.links), sum(r.verdict is Verdict.PASS for r in records)) == (2, 39)


def test_no_worker_is_left_after_a_run(interrupted):
    place, _, _ = interrupted
    assert all(gone(link.pid) for link in place.links)


def test_worker_and_driver_never_wait_for_each_other(link):
    # The profile asks for 11 KiB images, regardless of this host.
    driver = Driver(link, Timing())
    requests = [Request(FLOOD, gate=1)] * 20
    assert {t.end for _, t in driver.traces(requests, AMX_HOST)} == {End.DONE}


def test_the_memory_of_the_worker_is_flat_over_1000_scenarios(link, host):
    scenarios = [s for s in catalog.scenarios(host) if not s.needs_amx][:100]
    driver = Driver(link, Timing())
    worker = psutil.Process(link.pid)

    def after(count):
        requests = [Request(s, gate=1) for s in scenarios] * count
        for _ in driver.traces(requests, host):
            pass
        return worker.memory_info().rss

    first, last = after(1), after(10)
    assert last - first < 1 << 20


def test_a_child_keeps_no_descriptor_in_the_worker(link, host, plain):
    driver = Driver(link, Timing())
    worker = psutil.Process(link.pid)
    counts = []
    for _ in range(30):
        only_trace(driver, plain, host)
        counts.append(worker.num_fds())
    # While the worker learns outputs it has the process that forks, and its pipes, or has it not.
    assert max(counts[15:]) <= max(counts[:15])
