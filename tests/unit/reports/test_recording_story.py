"""A recording reads as a story: calls by name, values by name, what changed."""

import struct

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.recordings.lines import (
    Call,
    EndReason,
    Order,
    Permission,
    ProcessChange,
    ProcessLine,
    Run,
    Runs,
    Unread,
)
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.reports.recording.story import story
from tests.support.hosts import AMX_LAYOUT
from tests.support.recordings import call, recording

XTILE = 0x60000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vmm.jsonl"


def _told(path):
    with RecordingReader(path) as reader:
        return [line.strip() for lines in story(reader, AMX_LAYOUT) for line in lines]


def _image(xstate_bv, content=b""):
    image = bytearray(4096)
    image[512:520] = xstate_bv.to_bytes(8, "little")
    image[160 : 160 + len(content)] = content
    return bytes(image)


def _msrs(**values):
    entries = b"".join(struct.pack("<IIQ", int(i[1:], 16), 0, v) for i, v in values.items())
    return struct.pack("<II", len(values), 0) + entries


def _calls(path, *calls):
    """Tell calls of (request, payload, result)."""
    with recording(path) as writer:
        for place, (spec, content, result) in enumerate(calls):
            name = "got" if spec.direction.value == 2 else "sent"
            payload = {name: writer.payload(content)} if content else {}
            writer.write(call(2 * place + 1, spec.number, result=result, **payload))
        writer.end(2 * len(calls) + 1, EndReason.ENDED, 0)
    return _told(path)


def test_the_beginning_names_host_and_command(path):
    told = _calls(path)
    assert "Linux 6.18.1, GenuineIntel 0x6-0x8f-0x8" in told[0]
    assert told[1] == "command: vmm --restore"


def test_an_image_has_the_names_of_its_components(path):
    told = _calls(path, (ioctls.SET_XSAVE, _image(XTILE), 0))
    assert "2  vcpu0: KVM_SET_XSAVE = 0" in told
    assert "sent: 4096 bytes: XSTATE_BV=0x60000 (XTILE_CFG|XTILE_DATA)" in told


def test_of_a_second_image_only_changes_are_told(path):
    told = _calls(
        path,
        (ioctls.SET_XSAVE, _image(1), 0),
        (ioctls.GET_XSAVE, _image(3, b"\1"), 0),
        (ioctls.GET_XSAVE, _image(3, b"\1"), 0),
    )
    assert told[-2] == "got: 4096 bytes, as the last time"
    assert told[-4] == (
        "got: 4096 bytes, since the last time: XSTATE_BV 0x1 (FP) -> 0x3 (FP|SSE), "
        "SSE (XMM) differs"
    )


def test_lists_of_msrs_are_parts_of_one_state(path):
    told = _calls(
        path,
        (ioctls.SET_MSRS, _msrs(x1C4=XTILE, xDA0=0), 2),
        (ioctls.SET_MSRS, _msrs(xDA0=0x1800), 1),
    )
    assert told[-2] == (
        "sent: 24 bytes, since the last time: XSS 0 -> 0x1800 (CET_USER|CET_KERNEL)"
    )


def test_a_failed_call_has_errno_and_meaning(path):
    told = _calls(path, (ioctls.SET_XCRS, b"", -22))
    meaning = "illegal, or not within the guest's CPUID"
    assert f"2  vcpu0: KVM_SET_XCRS = -EINVAL (22): {meaning}" in told


def test_an_ioctl_that_is_not_described_has_its_number(path):
    with recording(path) as writer:
        writer.write(call(1, 0x4010AE67))
        writer.end(3, EndReason.ENDED)
    assert any("request 0x4010ae67 (nr 0x67), which kvmprobe does not" in t for t in _told(path))


def test_other_lines_are_sentences(path):
    with recording(path) as writer:
        writer.write(Permission(Order(1, 2), 100, 0, 0x1025, 18, 0))
        writer.write(Permission(Order(3, 4), 100, 0, 0x1024, 0x7000, 0, 0x40000))
        writer.write(Runs(5, "vcpu0", 9))
        writer.write(Runs(6, "vcpu0", None, "no stops"))
        area = bytearray(288)
        area[8:12] = (5).to_bytes(4, "little")
        writer.write(Run(Order(7, 10), 100, 0, "vcpu0", 7, 0, got=writer.payload(bytes(area))))
        writer.write(Unread(11, 0, "a thread", "EPERM"))
        writer.write(ProcessLine(12, ProcessChange.FORK, 1, 101, parent=0))
        writer.write(Call(Order(13, 14), 100, 1, "vcpu0", 7, ioctls.SET_XSAVE.number, 0, None))
        writer.write(ProcessLine(15, ProcessChange.KILLED, 1, 101, status=9))
        writer.end(16, EndReason.ENDED, 0)
    assert _told(path)[4:] == [
        "2  arch_prctl ARCH_REQ_XCOMP_GUEST_PERM(0x40000 (XTILE_DATA)) = 0",
        "4  arch_prctl ARCH_GET_XCOMP_GUEST_PERM = 0: 0x40000 (XTILE_DATA)",
        "5  vcpu0: 9 more KVM_RUNs",
        "6  vcpu0: KVM_RUNs, not counted: no stops",
        "7..10  vcpu0: KVM_RUN = 0",
        "exit_reason=KVM_EXIT_HLT",
        "11  not recorded: a thread: EPERM",
        "12  process 0 forked process 1 (pid 101)",
        "14  vcpu0: KVM_SET_XSAVE: did not return",
        "15  signal 9 (SIGKILL) killed process 1 (pid 101)",
        "16  end: ended, exit status 0; 4 calls",
    ]


def test_a_program_that_its_own_filter_killed_says_so(path):
    with recording(path) as writer:
        writer.write(ProcessLine(1, ProcessChange.KILLED, 0, 100, status=31))
        writer.end(2, EndReason.ENDED, 159)
    [told] = [text for text in _told(path) if "killed" in text]
    assert "signal 31 (SIGSYS)" in told
    assert "seccomp filter" in told


def test_control_characters_of_a_recording_do_not_reach_the_terminal(path):
    with recording(path) as writer:
        writer.write(Unread(1, 0, "\x1b[2J", "\x07"))
        writer.end(2, EndReason.ENDED)
    assert not any("\x1b" in line or "\x07" in line for line in _told(path))


def test_payloads_of_any_length_are_told(path):
    specs = [spec for spec in ioctls.ALL if spec.argument]
    calls = [(spec, b"\xff" * size, 0) for spec in specs for size in (1, 7, 513)]
    assert len(_calls(path, *calls)) > len(calls)
