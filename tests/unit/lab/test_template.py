"""When the template is started, with a program of our own in the emulator's place."""

import sys

import pytest

from kvmprobe.errors import LabError
from kvmprobe.lab.boot_image import BootImage, RamImage
from kvmprobe.lab.emulator import Emulator
from kvmprobe.lab.template import Template

# Serves as many forks as its start is to serve, and is killed then.
SCRIPT = f"""#!{sys.executable}
import os, pathlib, signal, socket
log = pathlib.Path(__file__).with_name("starts")
starts = log.read_text() if log.exists() else ""
log.write_text(starts + ".")
control = socket.socket(fileno=int(os.environ["KVMPROBE_CONTROL"]))
os.write(int(os.environ["KVMPROBE_CHANNEL_OUT"]), b"#phase start\\nready\\n")
for _ in range(FORKS[len(starts)]):
    socket.recv_fds(control, 64, 5)
    child = os.fork()
    if child == 0:
        signal.pause()
    socket.send_fds(control, [f"forked {{child}}".encode()], [os.pidfd_open(child)])
os.kill(os.getpid(), signal.SIGKILL)
"""


class Image:
    def get(self):
        return BootImage((RamImage(0x1000, b"kernel"),), 16)

    def drop(self):
        return None


@pytest.fixture
def template(tmp_path):
    def write(*forks):
        script = tmp_path / "bochs"
        script.write_text(SCRIPT.replace("FORKS", repr(forks)), encoding="utf-8")
        script.chmod(0o755)
        emulator = Emulator(script, tmp_path / "firmware.bin", tmp_path / "init")
        return Template(emulator, Image())

    return write


def fork(template, count):
    try:
        for _ in range(count):
            template.fork().__exit__()
    finally:
        template.close()


def test_a_template_that_is_lost_is_started_again(template, tmp_path):
    fork(template(2, 1), 3)
    assert (tmp_path / "starts").read_text() == ".."


def test_the_loss_of_one_that_was_ready_is_no_failed_start(template, tmp_path):
    fork(template(1, 0, 0, 1), 2)
    assert (tmp_path / "starts").read_text() == "...."


def test_one_that_is_lost_at_each_start_ends_the_run(template):
    with pytest.raises(LabError, match="lost 3 times as it started"):
        fork(template(0, 0, 0), 1)
