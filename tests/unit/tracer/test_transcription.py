"""Events of the recorder become lines: objects, processes, payloads, what is missing."""

import io
import json

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.recorder import AreaMissing, TraceEvent, TraceGap, TracePart
from kvmprobe.recordings.writer import RecordingWriter
from kvmprobe.tracer.events import Event, Part
from kvmprobe.tracer.transcription import Transcription
from tests.support.recordings import HEADER

KVM, VM, VCPU = "/dev/kvm", "anon_inode:kvm-vm", "anon_inode:kvm-vcpu:3"


class Told:
    """Events in order, and the lines that were written of them."""

    def __init__(self):
        self.file = io.BytesIO()
        self.transcription = Transcription(RecordingWriter(self.file, HEADER))
        self.order = 0
        self.add(TraceEvent.TRACE_STARTED)

    def add(self, kind, *, number=0, pid=100, parts=(), **members):
        self.order += 2
        values = {"fd": -1, "argument": 0, "result": 0} | members
        event = Event(
            kind, self.order - 1, self.order, pid, pid, number=number, parts=dict(parts), **values
        )
        self.transcription.add(event)

    def call(self, spec, fd, link, *, parts=(), **members):
        link_part = (TracePart.TRACE_LINK, Part(link.encode(), len(link), 0))
        self.add(
            TraceEvent.TRACE_CALLED, number=spec.number, fd=fd, parts=[link_part, *parts], **members
        )

    def lines(self, kind):
        lines = [json.loads(line) for line in self.file.getvalue().splitlines()]
        return [line for line in lines if line["type"] == kind]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def with_vcpu(told):
    told.call(ioctls.CREATE_VM, 3, KVM, result=4)
    told.call(ioctls.CREATE_VCPU, 4, VM, argument=3, result=5)
    told.call(ioctls.GET_REGS, 5, VCPU)
    return told


def test_objects_are_declared_with_what_made_them(with_vcpu):
    found = [(o["id"], o.get("of"), o.get("number")) for o in with_vcpu.lines("object")]
    assert found == [("kvm0", None, None), ("vm0", "kvm0", None), ("vcpu0", "vm0", 3)]


def test_a_reused_descriptor_is_another_object(with_vcpu):
    with_vcpu.call(ioctls.CREATE_VCPU, 4, VM, argument=7, result=5)
    with_vcpu.call(ioctls.GET_REGS, 5, "anon_inode:kvm-vcpu:7")
    assert [o["id"] for o in with_vcpu.lines("object")][-1] == "vcpu1"


def test_a_descriptor_that_shows_something_else_is_another_object(with_vcpu):
    with_vcpu.call(ioctls.GET_REGS, 5, "anon_inode:kvm-vcpu:9")
    assert with_vcpu.lines("call")[-1]["on"] == "vcpu1"


def test_a_duplicated_descriptor_is_the_same_object(with_vcpu):
    with_vcpu.call(ioctls.GET_REGS, 17, VCPU)
    assert with_vcpu.lines("call")[-1]["on"] == "vcpu0"


def test_a_descriptor_that_two_objects_fit_is_neither(with_vcpu):
    with_vcpu.call(ioctls.CREATE_VM, 3, KVM, result=6)
    with_vcpu.call(ioctls.CREATE_VCPU, 6, VM, argument=3, result=7)
    with_vcpu.call(ioctls.GET_REGS, 7, VCPU)
    with_vcpu.call(ioctls.GET_REGS, 17, VCPU)
    assert with_vcpu.lines("call")[-1]["on"] == "vcpu2"


def test_an_unreadable_link_leaves_the_object_that_was_made(with_vcpu):
    with_vcpu.call(ioctls.GET_REGS, 5, "")
    assert with_vcpu.lines("call")[-1]["on"] == "vcpu0"


def test_a_fork_has_its_parents_objects_and_its_own_number(with_vcpu):
    with_vcpu.add(TraceEvent.TRACE_FORKED, pid=200, number=100)
    with_vcpu.call(ioctls.GET_REGS, 5, VCPU, pid=200)
    assert with_vcpu.lines("process")[-1]["parent"] == 0
    assert [with_vcpu.lines("call")[-1][name] for name in ("process", "on")] == [1, "vcpu0"]


def test_an_exec_gives_the_process_a_new_number(told):
    told.add(TraceEvent.TRACE_EXECUTED)
    told.call(ioctls.CREATE_VM, 3, KVM, result=4)
    assert told.lines("call")[-1]["process"] == 1


def test_a_short_payload_says_why(with_vcpu):
    sent = (TracePart.TRACE_SENT, Part(b"\1" * 16, 144, 14))
    with_vcpu.call(ioctls.SET_REGS, 5, VCPU, parts=[sent], result=-14)
    line = with_vcpu.lines("call")[-1]
    assert line["unread"] == {"sent": "16 of 144 bytes were read: EFAULT (14)"}
    assert with_vcpu.lines("payload")[-1]["size"] == 16
    assert "of 1 the payload could not be read whole" in with_vcpu.transcription.summary


def test_a_run_area_that_is_mapped_twice_says_so(with_vcpu):
    missing = Part(b"", 288, AreaMissing.TRACE_MAPPED_TWICE)
    parts = {TracePart.TRACE_LINK: Part(VCPU.encode(), 1, 0), TracePart.TRACE_SENT: missing}
    with_vcpu.add(TraceEvent.TRACE_RAN, fd=5, parts=parts)
    assert "several vCPUs" in with_vcpu.lines("run")[-1]["unread"]["sent"]


def test_calls_of_a_32_bit_program_are_reported_once(told):
    for _ in range(3):
        told.add(TraceEvent.TRACE_UNREAD, number=TraceGap.TRACE_FOREIGN_ABI)
    assert [line["what"] for line in told.lines("unread")] == [
        "KVM calls of a 32-bit or x32 program"
    ]
    assert "missing" in told.transcription.summary


def test_a_killed_recorder_leaves_an_end_that_says_so(with_vcpu):
    with_vcpu.transcription.cut("the recorder was killed")
    assert with_vcpu.lines("unread")[-1]["what"] == "all later calls"
    assert with_vcpu.lines("end")[-1]["reason"] == "lost"
