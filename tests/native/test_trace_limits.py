"""``kvmprobe trace`` of daemons, under seccomp filters, and without its guard."""

from __future__ import annotations

import signal
import subprocess

import psutil
import pytest

from kvmprobe.abi import ioctls
from kvmprobe.errors import ExitCode
from kvmprobe.recordings.lines import Call, End, EndReason, Permission, ProcessChange, ProcessLine
from tests.support.command import COMMAND
from tests.support.traced import compiled, entries, trace

# asm/unistd_64.h, and the first arguments of the calls: sys/ptrace.h, linux/seccomp.h, asm/prctl.h.
PTRACE, ARCH_PRCTL, PROCESS_VM_READV, SECCOMP = "101", "158", "310", "317"
DEADLINE = 300.0
SEIZE, SET_MODE_FILTER, GET_GUEST_PERM, ANY = "0x4206", "1", "0x1024", "-1"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("traced"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vmm.jsonl"


def in_sandbox(program, number, first, path):
    """Record a program, all in a sandbox that refuses a system call."""
    words = [program, "refuse", number, first, *COMMAND, "trace", "-o", path, "--"]
    # It ends when no process has the pipes any more: nothing is left over.
    return subprocess.run(
        [*words, program, "restore", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def test_a_daemon_is_recorded_to_its_end_with_the_status_of_the_command(program, path, tmp_path):
    go, result = tmp_path / "go", tmp_path / "result"
    command = [*COMMAND, "trace", "-o", path, "--", program, "daemon", go, result]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as front:
        pid = int(front.stdout.readline().split()[1])
        go.touch()
        # traced.c: the status of the parent
        assert front.wait() == 4
    assert not psutil.pid_exists(pid)
    assert result.read_text() == "0 failed\n"
    calls = [e for e in entries(path, Call) if e.spec is ioctls.SET_REGS]
    assert {e.line.process for e in calls} == {1}
    assert len(calls) == 101


def test_a_call_that_the_programs_filter_refuses_does_not_reach_kvm(program, path):
    ended = trace(path, program, "refuse", ARCH_PRCTL, GET_GUEST_PERM, program, "restore", 1)
    assert ended.returncode == 0
    assert entries(path, Permission) == []
    assert any(entry.spec is ioctls.SET_XSAVE for entry in entries(path, Call))


def test_a_program_that_its_filter_kills_ends_as_without_us(program, path):
    ended = trace(path, program, "kill", ARCH_PRCTL, GET_GUEST_PERM, program, "restore", 1)
    assert ended.returncode == 128 + signal.SIGSYS
    [*_, last] = entries(path, ProcessLine)
    assert (last.line.event, last.line.status) == (ProcessChange.KILLED, signal.SIGSYS)
    assert entries(path, End)[0].line.reason is EndReason.ENDED


@pytest.mark.parametrize(
    ("number", "first", "message"),
    [
        (PTRACE, SEIZE, "ptrace(PTRACE_SEIZE) on {program} returned EACCES (13)"),
        (
            SECCOMP,
            SET_MODE_FILTER,
            "seccomp(SECCOMP_SET_MODE_FILTER) for {program} returned EACCES",
        ),
    ],
)
def test_a_sandbox_that_forbids_tracing_is_named_and_nothing_runs(
    number, first, message, program, path
):
    ended = in_sandbox(program, number, first, path)
    assert ended.returncode == ExitCode.NOTHING_RAN
    assert ended.stdout == ""
    assert message.format(program=program) in ended.stderr
    assert "sandbox" in ended.stderr


def test_where_memory_cannot_be_read_calls_have_no_payload_and_the_reason(program, path):
    ended = in_sandbox(program, PROCESS_VM_READV, ANY, path)
    assert ended.returncode == 0
    assert "the payload could not be read whole" in ended.stderr
    images = [e for e in entries(path, Call) if e.spec is ioctls.SET_XSAVE]
    assert [(e.sent, e.line.unread) for e in images] == [
        (None, {"sent": "0 of 4096 bytes were read: EACCES (13)"})
    ] * 2


def test_killing_the_guard_stops_nothing(program, path, tmp_path):
    go, result = tmp_path / "go", tmp_path / "result"
    command = [*COMMAND, "trace", "-o", path, "--", program, "wait", go, result]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as front:
        pid = int(front.stdout.readline().split()[1])
        recorder = psutil.Process(pid).parent()
        recorder.parent().kill()
        go.touch()
        front.wait()
    psutil.wait_procs([recorder])
    assert result.read_text() == "0 failed\n"
    assert len([e for e in entries(path, Call) if e.spec is ioctls.SET_REGS]) == 101
