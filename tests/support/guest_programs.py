"""Python programs of ours on the emulated host, with the files that they load."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.command import COMMAND

# The files of all modules that the program loads; the guest has no other.
LOADED = """
import os, runpy, sys
runpy.run_path(sys.argv[0])
for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    state = getattr(spec, "loader_state", None)
    for path in (getattr(module, "__file__", None), getattr(state, "filename", None)):
        if path and os.path.isfile(path):
            print(path)
"""
ROOT = Path(__file__).parents[2]


def run_program(program, *arguments):
    """Run a program with these arguments and ``sys.path``; return its lines.

    It runs here first, which shows what it loads.
    """
    path = [entry for entry in sys.path if entry and Path(entry).is_dir()]
    given = [*map(str, arguments), str(ROOT), *path]
    loaded = [*_loaded_files(program, given), str(program)]
    options = [part for name in loaded for part in ("--file", name)]
    options += ["--file", os.path.dirname(sys.modules["encodings"].__file__)]  # noqa: PTH120
    command = ["lab", "exec", "--kernel", "7.3.4", "--memory", "600", *options]
    interpreter = [os.path.realpath(sys.executable), "-S", "-B"]
    ended = subprocess.run(
        [*COMMAND, *command, "--", *interpreter, str(program), *given],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def _loaded_files(program, arguments):
    text = f"import sys; sys.argv[:] = {[str(program), *arguments]!r}{LOADED}"
    ended = subprocess.run(
        [os.path.realpath(sys.executable), "-S", "-c", text],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(line for line in set(ended.stdout.splitlines()) if line.startswith("/"))
