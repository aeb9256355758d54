"""Asking an emulator for a fork: what it answers, and what becomes of the descriptors."""

import errno
import os
import socket
from pathlib import Path

import psutil
import pytest

from kvmprobe.lab.machine_events import EndReason
from kvmprobe.lab.patience import Patience
from kvmprobe.lab.ports import ForkFailed, Ports, TemplateLost, request_fork

SECONDS = 5.0
IDLE_SECONDS = 0.1


@pytest.fixture
def emulator():
    """Our end and the emulator's end of a control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def patience():
    """With this process, which answers."""
    return Patience(psutil.Process(), SECONDS)


@pytest.fixture
def ports():
    made = Ports()
    yield made
    made.close()


def test_the_emulator_gets_the_machines_ends(emulator, ports, patience):
    ours, theirs = emulator
    theirs.send(b"error 11")
    with pytest.raises(ForkFailed):
        request_fork(ours, ports, patience)
    message, received, _, _ = socket.recv_fds(theirs, 64, 8)
    assert message == b"fork"
    assert [os.fstat(fd).st_ino for fd in received] == [
        os.fstat(fd).st_ino for fd in ports.machine_ends
    ]
    for descriptor in received:
        os.close(descriptor)


def test_a_fork_has_a_process_id_and_a_pidfd(emulator, ports, patience):
    ours, theirs = emulator
    pidfd = os.pidfd_open(os.getpid())
    socket.send_fds(theirs, [b"forked 4711"], [pidfd])
    os.close(pidfd)
    pid, received = request_fork(ours, ports, patience)
    assert pid == 4711
    assert f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{received}").read_text("ascii")
    os.close(received)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_a_fork_that_fails_has_its_errno(emulator, ports, patience, number):
    ours, theirs = emulator
    theirs.send(f"error {number}".encode())
    with pytest.raises(ForkFailed) as failed:
        request_fork(ours, ports, patience)
    assert failed.value.errno == number


@pytest.mark.parametrize("answer", [b"\xff\xfe", b"forked", b"forked 1", b"error x", b"x" * 64])
def test_an_answer_that_is_none_is_a_lost_machine(emulator, ports, patience, answer):
    ours, theirs = emulator
    theirs.send(answer)
    with pytest.raises(TemplateLost):
        request_fork(ours, ports, patience)


def test_an_emulator_that_has_ended_is_a_lost_machine(emulator, ports, patience):
    ours, theirs = emulator
    theirs.close()
    with pytest.raises(TemplateLost, match="has ended"):
        request_fork(ours, ports, patience)


def test_an_emulator_that_does_not_answer_is_a_lost_machine(emulator, ports):
    ours, _ = emulator
    # It waits without CPU time, as one that is stopped.
    with pytest.raises(TemplateLost, match="does not answer") as lost:
        request_fork(ours, ports, Patience(psutil.Process(), IDLE_SECONDS))
    assert lost.value.silent is EndReason.STALLED


def test_how_a_machine_ended_is_its_last_message(ports):
    machine = socket.socket(fileno=os.dup(ports.machine_ends[-1]))
    machine.send(b"something 1")
    machine.send(b"end 3")
    machine.close()
    ports.hand_over()
    assert ports.end_status() == 3


def test_a_machine_that_was_killed_tells_nothing(ports):
    ports.hand_over()
    assert ports.end_status() is None


def test_all_descriptors_are_closed():
    first = os.dup(0)
    os.close(first)
    Ports().close()
    again = os.dup(0)
    os.close(again)
    assert again == first
