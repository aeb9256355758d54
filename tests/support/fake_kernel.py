"""Traces of a kernel with chosen defects: the model runs, and its outcomes become bytes."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import lru_cache

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import msr_name
from kvmprobe.abi.payload import RESULT_SIZE
from kvmprobe.model.machine import CR0_RESET
from kvmprobe.model.outcome import Done, Failed, HostDies, NewDescriptor, NotCovered, OneOf
from kvmprobe.model.system import COUNT_FIELD, LISTED_MSRS
from kvmprobe.results.trace import End, Reply, Trace, TraceStep
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    DuringRun,
    Ioctl,
    Literal,
    Output,
    OutputAtPageEnd,
    OutputBehind,
    RunGuest,
    RunVcpu,
)
from kvmprobe.scenarios.model_run import ModelRun

CANARY = 0xA5
_RFLAGS_FIXED = 2
_AT_RESET = {"cr0": CR0_RESET, "cs_base": 0xFFFF_0000, "cs_selector": 0xF000}
# The kernel writes each member of these, also those that the model does not have.
_WHOLE = {
    spec.number
    for spec in (
        ioctls.GET_SREGS,
        ioctls.GET_SREGS2,
        ioctls.GET_VCPU_EVENTS,
        ioctls.GET_DEBUGREGS,
    )
}


def trace_of(scenario, host, *behaviours):
    """The trace of ``scenario`` on a kernel with exactly these behaviours.

    It ends before the step in which the host dies; ``end`` is LOST then.
    """
    return trace_along(scenario, ModelRun(replace(host, behaviours=frozenset(behaviours))))


def trace_along(scenario, model_run, legal=0):
    """As :func:`trace_of`, on the kernel of a model run that other scenarios share.

    :param legal: which answer to give where the model allows several; the last where there are
        fewer
    """
    machine = model_run.start_of(scenario)
    steps, sregs = [], _Sregs(model_run.host)
    for step in scenario.steps:
        replies = []
        for op in step.ops:
            transition = model_run.step(machine, op)
            if isinstance(transition.outcome, HostDies):
                return Trace(tuple(steps), End.LOST, "the host died")
            reply = reply_of(transition.outcome, op, model_run.host, legal)
            replies.append(sregs.reply(op, reply) if "_SREGS" in op.interface else reply)
            machine = transition.machine
        steps.append(TraceStep(tuple(replies)))
    return Trace(tuple(steps))


class _Sregs:
    """The structure that an op gave as a whole: the model has only some of its members."""

    def __init__(self, host):
        self._host = host
        self._given = b""

    def reply(self, op, reply):
        argument = getattr(op.lower(self._host), "argument", None)
        if isinstance(argument, Literal) and reply.result == 0:
            self._given = argument.content[: ioctls.KVM_SREGS.offset("interrupt_bitmap")]
        if not isinstance(argument, Output) or not self._given:
            return reply
        output = bytearray(self._given + reply.output[len(self._given) :])
        for offset, code in op.places.values():
            end = offset + struct.calcsize(f"={code}")
            output[offset:end] = reply.output[offset:end]
        return Reply(reply.result, bytes(output))


def reply_of(outcome, op, host, legal=0):
    blank = _blank(op, host)
    match outcome:
        case NewDescriptor():
            return Reply(7)
        case Failed(number, fields):
            return Reply(-number, _output(op, blank, fields, None) if fields else blank)
        case NotCovered(example=example):
            return Reply(0) if _changes_nothing(op) else reply_of(example, op, host, legal)
        case OneOf(choices):
            return reply_of(choices[min(legal, len(choices) - 1)], op, host)
        case Done(value, table=expected) if expected is not None:
            table = expected.table.to_bytes()
            return Reply(value, table + blank[len(table) :])
        case Done(value, fields, image):
            output = _output(op, blank, fields, image)
            return Reply(value, _with_memory(output, outcome.memory))
    raise AssertionError(outcome)


def _changes_nothing(op):
    """Whether an op sets members to what they are after reset; a kernel accepts that."""
    members = getattr(op, "members", ())
    return bool(members) and all(value == _AT_RESET.get(name, 0) for name, value in members)


def _with_memory(output, memory):
    if memory is None:
        return output
    return output[: memory.offset] + memory.content + output[memory.offset + len(memory.content) :]


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


@lru_cache(maxsize=8192)
def _blank(op, host):
    call = op.lower(host)
    return _blank_of(call.ioctl if isinstance(call, DuringRun) else call)


def _blank_of(call):  # noqa: PLR0911 - one return for each kind of call
    match call:
        case RunVcpu(patches=patches, size=size):
            return bytes(size if patches else 4)
        case RunGuest(data_size=size):
            return bytes(RESULT_SIZE + size)
        case Ioctl(ioctls.GET_REGS.number):
            return ioctls.KVM_REGS.packed.pack(*bytes(17), _RFLAGS_FIXED)
        case Ioctl(number, argument=Output(size)) if number in _WHOLE:
            return bytes(size)
        case Ioctl(argument=Output(size, head)) | ArchPrctl(argument=Output(size, head)):
            return head.ljust(size, bytes([CANARY]))
        case Ioctl(argument=OutputAtPageEnd(size, head)):
            return head.ljust(size, bytes([CANARY]))
        case Ioctl(argument=OutputBehind(head, _, size)):
            return head + size * bytes([CANARY])
        case _:
            return None


def _is(op, spec):
    call = op.lower(None)
    return isinstance(call, Ioctl) and call.number == spec.number


def _output(op, blank, fields, image):
    if image is not None:
        return image.image + blank[len(image.image) :]
    if op.name in _OUTPUTS:
        output = _OUTPUTS[op.name](op, blank, fields)
        return output + blank[len(output) :]
    return blank if blank is None else _with_fields(op, blank, fields)


def _guest_cpuid(op, blank, fields):
    if "nent" in fields:
        return blank
    # Of a kernel whose vendor module rewrites tables, only some values are known.
    xcr0, size = fields.get("0xD.0:EDX:EAX", 0), fields.get("0xD.0:EBX", 0)
    entries = [(0x1, 0, 1, 0, 0, fields.get("1:ECX.OSXSAVE", 0) << 27, 0)]
    entries += [(0xD, 0, 1, xcr0, size, 0, 0)] * ("0xD.0:EBX" in fields)
    entries += [(0xD, 1, 1, 0, fields.get("0xD.1:EBX", 0), 0, 0)]
    packed = b"".join(struct.pack("<7I12x", *entry) for entry in entries)
    return struct.pack("<II", len(entries), 0) + packed


def _msr_index_list(op, blank, fields):
    listed = [index for name, index in LISTED_MSRS.items() if fields[name]]
    rest = [0x10] * (fields[COUNT_FIELD] - len(listed))
    return struct.pack(f"<I{fields[COUNT_FIELD]}I", fields[COUNT_FIELD], *listed, *rest)


def _msrs(op, blank, fields):
    output = bytearray(blank)
    for place, index in enumerate(op.indices):
        if msr_name(index) in fields:
            struct.pack_into("<Q", output, 16 + 16 * place, fields[msr_name(index)])
    return bytes(output)


def _emulated_cpuid(op, blank, fields):
    return struct.pack("<I", fields[COUNT_FIELD])


_OUTPUTS = {
    "get-cpuid2": _guest_cpuid,
    "get-msr-index-list": _msr_index_list,
    "get-msrs": _msrs,
    "get-emulated-cpuid": _emulated_cpuid,
}


def _with_fields(op, blank, fields):
    output = bytearray(blank)
    for name, (offset, code) in op.places.items():
        if name in fields:
            struct.pack_into(f"<{code}", output, offset, fields[name])
    if "XCR0" in fields and _is(op, ioctls.GET_XCRS):
        # struct kvm_xcrs: nr_xcrs, flags, and the number of the register.
        struct.pack_into("<III", output, 0, 1, 0, 0)
    return bytes(output)
