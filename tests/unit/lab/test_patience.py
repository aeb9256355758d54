"""Which silence is a hang; the processes are real, and looked at as often as it takes."""

import signal
import subprocess
import sys
import time
from itertools import islice

import pytest

from kvmprobe.lab.machine_events import EndReason
from kvmprobe.lab.patience import Patience

# In CPU time: the looks of a test may come at any time.
SECONDS = 0.5


@pytest.fixture
def process():
    """Starts a program, which has begun when it has written a line."""
    started = []

    def start(body):
        words = [sys.executable, "-c", f"print(flush=True)\n{body}"]
        program = subprocess.Popen(words, stdout=subprocess.PIPE)
        started.append(program)
        program.stdout.readline()
        return program

    yield start
    for program in started:
        program.kill()
        program.wait()
        program.stdout.close()


def looks(program):
    patience = Patience(program, SECONDS)
    while True:
        yield patience.look()
        time.sleep(0.1)


def test_one_that_works_all_the_time_hangs(process):
    assert next(filter(None, looks(process("while True: pass")))) is EndReason.HANG


def test_one_that_is_stopped_did_not_run(process):
    program = process("while True: pass")
    program.send_signal(signal.SIGSTOP)
    assert list(islice(looks(program), 2)) == [None, EndReason.STALLED]


def test_one_that_does_nothing_did_not_run_but_gets_time(process):
    found = list(islice(looks(process("import signal; signal.pause()")), 4))
    assert found == [None, None, None, EndReason.STALLED]


def test_output_begins_the_wait_again(process):
    program = process("while True: pass")
    patience = Patience(program, SECONDS)
    while patience.look() is None:
        time.sleep(0.1)
    patience.renew()
    assert patience.look() is None
