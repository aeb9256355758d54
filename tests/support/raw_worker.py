"""A worker of this host that is given lowered calls, without a model of what they return."""

from __future__ import annotations

import json
from contextlib import contextmanager

import psutil

from kvmprobe.abi.executor import Competition, HostRegisters, Placement
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.execution.wire import bytes_from_wire, define


class Ran:
    """The lines of a scenario, its end, and how many processes it left: 1 is the one that forks."""

    def __init__(self, lines, left):
        *self.lines, self.end = lines
        self.left = left

    @property
    def status(self):
        return self.end["status"]

    @property
    def results(self):
        return [reply[0] for line in self.lines for reply in line["r"]]

    def output(self, call):
        return bytes_from_wire(self.lines[call]["r"][0][2])


class RawWorker:
    def __init__(self, link):
        self._link = link
        json.loads(link.receive(60))
        self.pid = link.pid

    def run(self, *calls, gate=0, seconds=10.0, registers=HostRegisters.AS_THEY_ARE):
        """Run calls, one a step."""
        for number, call in enumerate(calls):
            self._link.send(f"D {number:x} {define(call).words}")
        deadline = round(seconds * 1000)
        steps = "".join(f"{number:x} ; " for number in range(len(calls)))
        beside = (registers, Competition.NOTHING_COMPETES, Placement.STAYS)
        head = " ".join(f"{value:x}" for value in (0, gate, *beside, deadline, deadline))
        self._link.send(f"R {head} {steps}")
        lines = []
        while not lines or "end" not in lines[-1]:
            lines.append(json.loads(self._link.receive(60)))
        return Ran(lines, len(psutil.Process(self.pid).children(recursive=True)))

    def forget(self):
        """Let it forget all calls and outputs."""
        self._link.send("X")


@contextmanager
def raw_worker():
    with LocalLink() as link:
        yield RawWorker(link)


def run_calls(*calls, gate=0, seconds=10.0):
    """Run calls in a worker of their own."""
    with raw_worker() as worker:
        return worker.run(*calls, gate=gate, seconds=seconds)
