"""Traces of a kernel with chosen defects: the model runs, and its outcomes become bytes."""

from __future__ import annotations

import struct
from dataclasses import replace

from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed, HostDies, NewDescriptor, OneOf
from kvmprobe.results.trace import End, Reply, Trace, TraceStep
from kvmprobe.scenarios.calls import Ioctl, Output

CANARY = 0xA5


def trace_of(scenario, host, *behaviours):
    """The trace of ``scenario`` on a kernel with exactly these behaviours.

    It ends before the step in which the host dies; ``end`` is LOST then.
    """
    kernel = replace(host, behaviours=frozenset(behaviours))
    machine = Machine.fresh(kernel)
    steps = []
    for step in scenario.steps:
        replies = []
        for op in step.ops:
            transition = op.step(machine)
            if isinstance(transition.outcome, HostDies):
                return Trace(tuple(steps), End.LOST, "the host died")
            replies.append(reply_of(transition.outcome, op, kernel))
            machine = transition.machine
        steps.append(TraceStep(tuple(replies)))
    return Trace(tuple(steps))


def reply_of(outcome, op, host):
    blank = _blank(op, host)
    match outcome:
        case NewDescriptor():
            return Reply(7)
        case Failed(number):
            return Reply(-number, blank)
        case OneOf(choices):
            return reply_of(choices[0], op, host)
        case Done(value, fields, image):
            return Reply(value, _output(op, blank, fields, image))
    raise AssertionError(outcome)


def with_reply(trace, step, position, reply):
    """The trace with one reply exchanged."""
    seen = trace.steps[step]
    replies = (*seen.replies[:position], reply, *seen.replies[position + 1 :])
    steps = (*trace.steps[:step], replace(seen, replies=replies), *trace.steps[step + 1 :])
    return replace(trace, steps=steps)


def with_log(trace, step, *lines):
    """The trace with kernel messages in one step."""
    seen = replace(trace.steps[step], kernel_log=lines)
    return replace(trace, steps=(*trace.steps[:step], seen, *trace.steps[step + 1 :]))


def _blank(op, host):
    if op.name.startswith("run-"):
        return bytes(4)
    match op.lower(host):
        case Ioctl(argument=Output(size, head)):
            return head.ljust(size, bytes([CANARY]))
        case _:
            return None


def _output(op, blank, fields, image):
    if image is not None:
        return image.image + blank[len(image.image) :]
    match op.name:
        case "get-supported-cpuid":
            xcr0, size = fields["0xD.0:EDX:EAX"], fields["0xD.0:ECX"]
            entry = struct.pack("<7I12x", 0xD, 0, 1, xcr0, size, size, 0)
            table = struct.pack("<II", 1, 0) + entry
            return table + blank[len(table) :]
        case _ if blank is not None:
            output = bytearray(blank)
            for name, (offset, code) in op.output_fields.items():
                if name in fields:
                    struct.pack_into(f"<{code}", output, offset, fields[name])
            return bytes(output)
        case _:
            return blank
