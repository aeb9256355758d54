"""A build from other sources than those in use ends every command that would use it."""

import os
import shutil
import subprocess
import sys

import pytest

import kvmprobe
from kvmprobe import build_inputs
from kvmprobe.errors import ExitCode


@pytest.fixture
def stale(tmp_path):
    """A copy of the package in which a limit of the wire is another one."""
    copied = tmp_path / "kvmprobe"
    shutil.copytree(build_inputs.PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    limits = copied / "abi" / "limits.py"
    limits.write_text(limits.read_text() + "\nANOTHER_LIMIT = 1\n")
    return tmp_path


def _run(root, *command):
    environment = {**os.environ, "PYTHONPATH": str(root), "XDG_CACHE_HOME": str(root / "cache")}
    return subprocess.run(
        [sys.executable, "-P", "-c", *command],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


_COMMAND = "import sys; from kvmprobe.cli.main import main; sys.exit(main())"


def test_the_parts_in_use_are_current():
    present = [build_inputs.PACKAGE / part for part in build_inputs.PARTS]
    assert [part for part in present if not part.exists()] == []
    build_inputs.check_parts()


@pytest.mark.parametrize("target", [["--device", os.devnull], []], ids=["device", "default"])
def test_run_judges_nothing(stale, target):
    out = stale / "run"
    arguments = ["run", "--target", "host", *target, "--select", "xcrs.*", "--out", str(out)]
    ended = _run(stale, _COMMAND, *arguments)
    assert ended.returncode == ExitCode.TOOL_BUG, ended.stderr
    assert "was built from other sources than those in use" in ended.stderr
    assert "PASS" not in ended.stdout
    assert "DIVERGED" not in ended.stdout


def test_the_library_cannot_be_imported(stale):
    ended = _run(stale, "import kvmprobe.bindings")
    assert "StaleBuild" in ended.stderr


def test_where_no_sources_are_nothing_is_imported_to_check_them(tmp_path):
    without = shutil.ignore_patterns("__pycache__", "*.c")
    shutil.copytree(build_inputs.PACKAGE, tmp_path / "kvmprobe", ignore=without)
    program = "import sys, kvmprobe.bindings; print('hashlib' in sys.modules)"
    assert _run(tmp_path, program).stdout == "False\n"


def test_the_image_of_the_emulated_host_is_not_made(stale):
    program = (
        "from pathlib import Path\n"
        "from kvmprobe.lab.worker_image import WorkerImage\n"
        "from kvmprobe.lab.cache import Cache\n"
        "WorkerImage(None, None, None).get()\n"
    )
    ended = _run(stale, program)
    assert "StaleBuild" in ended.stderr


def test_the_copy_is_refused_for_the_change_alone(stale):
    """The same command works with the sources that the parts were built from."""
    ended = _run(build_inputs.PACKAGE.parent, "import kvmprobe.bindings; print('imported')")
    assert ended.stdout == "imported\n"
    assert kvmprobe.__file__.startswith(str(build_inputs.PACKAGE))
