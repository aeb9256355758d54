"""How the driver interprets the lines of a worker."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace

import pytest

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.errors import WorkerError
from kvmprobe.execution import driver
from kvmprobe.execution.driver import Driver, Request, Timing, TraceLostError
from kvmprobe.execution.link import LinkLostError
from kvmprobe.results.trace import End, RegisterChange
from kvmprobe.scenarios.ops.lifecycle import CreateVm, OpenKvm
from tests.support.hosts import AMX_HOST
from tests.support.places import sequence

READY = {"ready": {"pid": 1, "kmsg": "read", "taint": 0}}
TWO_STEPS = sequence("two", OpenKvm(), OpenKvm())


class Script:
    """A link that returns given messages, and keeps what was sent."""

    def __init__(self, *messages):
        self._messages = deque(messages)
        self.sent = []

    def send(self, line):
        self.sent.append(line)

    def blocks_reached(self):
        return None

    def receive(self, timeout):
        message = self._messages.popleft()
        if isinstance(message, Exception):
            raise message
        return message if isinstance(message, str) else json.dumps(message)


def end(number=0, status="done", **more):
    return {"end": number, "status": status, "microseconds": 500000, "taint": 0, "k": [], **more}


TASK = {
    "pid": 7,
    "tid": 8,
    "name": "python",
    "state": "D (disk sleep)",
    "wchan": "kvm_vcpu_load",
    "syscall": "16 0x5",
    "stack": ["[<0>] kvm_vcpu_load+0x1/0x2"],
}


def late(whose, unkillable=()):
    hang = {"overrun": whose, "tasks": [TASK], "unkillable": list(unkillable)}
    return end(status="timeout", deadline=10.0, hang=hang, k=["said"])


def trace_from(*messages, ready=READY):
    driver = Driver(Script(ready, *messages), Timing())
    ((_, trace),) = driver.traces([Request(TWO_STEPS, gate=1)], AMX_HOST)
    return trace


def step(number, *replies, **more):
    return {"n": 0, "s": number, "r": [*replies], "k": [], **more}


def test_results_arrive_by_step():
    trace = trace_from(step(0, [3]), step(1, [-19]), end())
    assert [[r.result for r in s.replies] for s in trace.steps] == [[3], [-19]]


def test_what_a_call_changed_in_the_threads_registers_arrives_with_its_reply():
    changes = [[0, 24, "801f0000", "a01f0000"]]
    trace = trace_from(step(0, [3], h=changes), step(1, [3]), end())
    assert [s.replies[0].changes for s in trace.steps] == [
        (RegisterChange(24, bytes.fromhex("801f0000"), bytes.fromhex("a01f0000")),),
        (),
    ]


def test_a_request_names_the_registers_that_calls_are_made_with():
    link = Script(READY, end())
    scenario = replace(TWO_STEPS, registers=HostRegisters.ALL_LIVE)
    list(Driver(link, Timing()).traces([Request(scenario, gate=0)], AMX_HOST))
    assert [line.split()[3] for line in link.sent if line.startswith("R ")] == ["2"]


def test_kernel_messages_arrive_with_their_step():
    trace = trace_from(step(0, [3], k=["odd"]), step(1, [3]), end())
    assert [s.kernel_log for s in trace.steps] == [("odd",), ()]


def test_kernel_messages_of_the_end_belong_to_the_last_step():
    trace = trace_from(step(0, [3]), step(1, [3], k=["a"]), end(k=["b"]))
    assert trace.steps[-1].kernel_log == ("a", "b")


@pytest.mark.parametrize(
    ("message", "expected", "note"),
    [
        (end(status="signal", signal=11), End.SIGNAL, "killed by signal 11"),
        (late("scenario"), End.TIMEOUT, "the scenario did not end within 10 s"),
        (late("step"), End.TIMEOUT, "step 0 did not end within 10 s"),
        (end(status="held"), End.GATED, ""),
    ],
    ids=["signal", "timeout", "step", "held"],
)
def test_the_end_note_describes_the_end(message, expected, note):
    trace = trace_from(message)
    assert (trace.end, trace.end_note) == (expected, note)


def test_a_hang_includes_its_tasks_and_the_last_kernel_messages():
    hang = trace_from(step(0, [3]), late("scenario")).hang
    assert (hang.tasks[0].stack, hang.kernel_log) == (tuple(TASK["stack"]), ("said",))


def test_a_task_that_cannot_be_killed_loses_the_link():
    with pytest.raises(
        TraceLostError, match="unkillable: the scenario did not end within 10 s"
    ) as caught:
        trace_from(step(0, [3]), late("scenario", [TASK]))
    assert (caught.value.hung, len(caught.value.trace.steps)) == (True, 1)
    assert [task.tid for task in caught.value.unkillable] == [8]


def test_taint_from_before_is_not_the_scenarios():
    ready = {"ready": {"pid": 1, "kmsg": "read", "taint": 4}}
    assert trace_from(end(taint=4 | 512), ready=ready).taint == 512


def test_taint_is_reported_once():
    driver = Driver(Script(READY, end(taint=512), end(1, taint=512)), Timing())
    found = driver.traces([Request(TWO_STEPS, gate=1)] * 2, AMX_HOST)
    assert [trace.taint for _, trace in found] == [512, 0]


def test_unreadable_taint_is_zero():
    assert trace_from(end(taint=-1)).taint == 0


def test_an_op_is_defined_once_for_all_scenarios():
    link = Script(READY, end(), end(1))
    list(Driver(link, Timing()).traces([Request(TWO_STEPS, gate=1)] * 2, AMX_HOST))
    assert sum(line.startswith("D ") for line in link.sent) == 1


def test_a_request_has_the_gate():
    link = Script(READY, end())
    list(Driver(link, Timing()).traces([Request(TWO_STEPS, gate=0)], AMX_HOST))
    assert [line.split()[2] for line in link.sent if line.startswith("R ")] == ["0"]


def test_an_output_that_was_reported_comes_back_by_number():
    new, again, once = [0, 1, "4/0,0:AQ=="], [0, 1], [0, 0, "1/0,0:Ag=="]
    trace = trace_from(step(0, new), step(1, again), end())
    assert [s.replies[0].output for s in trace.steps] == [b"\1\0\0\0"] * 2
    trace = trace_from(step(0, once), step(1, [0]), end())
    assert [s.replies[0].output for s in trace.steps] == [b"\2", None]


def test_a_worker_that_has_no_room_forgets_all_calls(monkeypatch):
    monkeypatch.setattr(driver, "MOST_CALLS", 4)
    link = Script(READY, end(), end(1), end(2))
    scenarios = [sequence(str(n), OpenKvm(), CreateVm(f"vm{n}")) for n in range(3)]
    list(Driver(link, Timing()).traces([Request(s, gate=1) for s in scenarios], AMX_HOST))
    assert [line.split()[:2] for line in link.sent if line[0] in "DX"] == [
        *(["D", "0"], ["D", "1"], ["D", "2"], ["X"]),
        *(["D", "0"], ["D", "1"]),
    ]


def test_a_lost_link_keeps_the_received_steps():
    with pytest.raises(TraceLostError) as caught:
        trace_from(step(0, [3]), LinkLostError("gone"))
    assert (len(caught.value.trace.steps), caught.value.trace.end) == (1, End.LOST)


def test_a_lost_link_shows_if_it_hangs():
    with pytest.raises(TraceLostError) as caught:
        trace_from(LinkLostError("silent", hung=True))
    assert caught.value.hung


@pytest.mark.parametrize("line", ["Traceback", "[1]", '"ready"'])
def test_a_line_that_is_not_a_message_is_a_worker_error(line):
    with pytest.raises(WorkerError, match="line is not"):
        trace_from(line)


def test_failed_probing_raises_with_the_traceback():
    driver = Driver(Script(READY, {"broken": -1, "traceback": "KeyError: 7"}), Timing())
    with pytest.raises(WorkerError, match="KeyError: 7"):
        driver.facts()


def test_probing_that_ends_without_facts_is_an_error():
    driver = Driver(Script(READY, end(-1, status="timeout", deadline=60.0)), Timing())
    with pytest.raises(WorkerError, match="without facts"):
        driver.facts()
