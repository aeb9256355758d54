import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kvmprobe.errors import EmulatorBuildFailed, MissingTools
from kvmprobe.lab import build_step

PATIENCE = 20.0


@pytest.fixture
def log(tmp_path):
    log = build_step.BuildLog(tmp_path / "build.log", "an example")
    log.start()
    return log


def test_output_goes_to_the_log_and_to_the_listener(log, tmp_path):
    heard = []
    build_step.run(["sh", "-c", "echo one; echo two >&2"], tmp_path, log, on_line=heard.append)
    assert heard == ["one\n", "two\n"]
    assert log.path.read_text() == "one\ntwo\n"


def test_a_failure_quotes_the_logs_end_and_its_place(log, tmp_path):
    with pytest.raises(EmulatorBuildFailed) as failure:
        build_step.run(["sh", "-c", "seq 100; exit 3"], tmp_path, log)
    assert str(log.path) in str(failure.value)
    assert "  100" in str(failure.value)
    assert "  50\n" not in str(failure.value)


def test_missing_tools_are_reported_with_their_packages():
    tools = {"sh": "dash", "no-such-tool-a": "package-b", "no-such-tool-b": "package-a"}
    with pytest.raises(MissingTools) as failure:
        build_step.require_tools(tools, "the example")
    assert failure.value.names == ("package-a", "package-b")


USER = """
import sys
from pathlib import Path
from kvmprobe.lab import build_step
log = build_step.BuildLog(Path(sys.argv[1]), "an example")
log.start()
# A make that has a compiler running.
build_step.run(["sh", "-c", "sleep 1000 & echo $! $$; wait"], Path("/"), log,
               on_line=lambda line: print(line, end="", flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_compiler_outlives_an_interrupted_build(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, "-c", USER, tmp_path / "log"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as user:
        compiler, shell = map(int, user.stdout.readline().split())
        os.kill(user.pid, number)
        user.wait(PATIENCE)
        watched = [shell, compiler] if number == signal.SIGINT else [shell]
        limit = time.monotonic() + PATIENCE
        while any(Path(f"/proc/{pid}").exists() for pid in watched):
            assert time.monotonic() < limit
            time.sleep(0.01)
        if number != signal.SIGINT:
            os.kill(compiler, signal.SIGKILL)
