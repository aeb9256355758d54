"""A signal that comes before there is a process for it is not lost."""

import os
import signal
import subprocess

import pytest

from kvmprobe.tracer.passing import ENDING, TO_COMMAND, Receiver, passing


@pytest.fixture
def process():
    with subprocess.Popen(["sleep", "60"]) as started:
        yield started
        started.kill()


def test_a_signal_is_kept_until_the_process_is_there(process):
    receiver = Receiver(ENDING)
    with passing(receiver):
        os.kill(os.getpid(), signal.SIGINT)
        receiver.begin(process.pid)
    assert process.wait() == -signal.SIGTERM


def test_a_later_signal_is_passed_on(process):
    receiver = Receiver(TO_COMMAND)
    with passing(receiver):
        receiver.begin(process.pid)
        os.kill(os.getpid(), signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM


def test_the_terminals_signals_are_not_passed_to_a_command_twice(process):
    receiver = Receiver(TO_COMMAND)
    with passing(receiver):
        receiver.begin(process.pid)
        os.kill(os.getpid(), signal.SIGINT)
    assert process.poll() is None


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in ENDING]
    with passing(Receiver(ENDING)):
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before
