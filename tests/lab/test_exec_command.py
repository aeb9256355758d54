"""``kvmprobe lab exec`` as a user types it, with a program that is not ours to change."""

import subprocess

import pytest

from tests.support.command import COMMAND

pytestmark = pytest.mark.lab
SCRIPT = """
read line < /opt/data/file; echo "$line $1"
echo complaint >&2
grep -c ^processor /proc/cpuinfo
grep MemTotal /proc/meminfo
exit 5
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exec")
    (folder / "data").mkdir()
    (folder / "data" / "file").write_text("content\n")
    options = ["--kernel", "7.3.4", "--cpus", "2", "--memory", "700"]
    options += ["--kernel-log", folder / "log", "--file", f"{folder}/data:/opt/data"]
    options += ["--file", "/bin/grep", "--", "sh", "-c", SCRIPT, "sh", "--kernel"]
    run = subprocess.run(
        [*COMMAND, "lab", "exec", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    return run, (folder / "log").read_text()


def test_the_exit_status_is_the_programs(ended):
    assert ended[0].returncode == 5


def test_standard_output_is_the_programs_alone(ended):
    assert ended[0].stdout.splitlines()[:2] == ["content --kernel", "2"]


def test_standard_error_ends_with_the_programs(ended):
    assert ended[0].stderr.splitlines()[-1] == "complaint"


def test_the_machine_has_the_memory_that_was_asked_for(ended):
    kibibytes = int(ended[0].stdout.splitlines()[2].split()[1])
    assert 600 << 10 < kibibytes < 700 << 10


def test_the_kernels_log_is_complete(ended):
    assert "Linux version 7.3.4" in ended[1]
    assert "Brought up 1 node, 2 CPUs" in ended[1]
