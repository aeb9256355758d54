"""The ``kvmprobe`` command of this installation as a program of the guest.

It then runs there as on any host: its worker, model and reports are in the guest, nothing of it is
outside.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import kvmprobe
from kvmprobe.lab.python_closure import PythonProgram, add_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.lab.initramfs import FileTree

NAME = "kvmprobe"
_MODULE = "kvmprobe.cli.main"
_FOLDER = "/usr/local/bin"
# What is loaded only when it is needed, data and modules, asking an interpreter does not show.
_WHOLE = ("kvmprobe", "rich", "jinja2")
# Always needed late; named, it goes along compiled.
_OVERRUN = ("importlib.readers",)
_NOT_FOR_PROGRAMS = {
    *("__pycache__", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip"),
    *("site-packages", "dist-packages"),
}


def add_own_command(tree: FileTree, pycache: Path) -> PythonProgram:
    """Add everything that ``kvmprobe`` takes, and the command itself on PATH, for scripts.

    :param pycache: as for :func:`add_python`
    :returns: how to start it; all that start it need the environment
    """
    modules = tuple(
        module.name for module in pkgutil.walk_packages(kvmprobe.__path__, f"{kvmprobe.__name__}.")
    )
    program = add_python(tree, _MODULE, pycache, also=(*modules, *_OVERRUN))
    for file in (*_standard_library(), *(f for name in _WHOLE for f in _files_of(name))):
        if str(file) not in tree:
            tree.add(file)
    launcher = f"#!{sys.executable} -S\nimport sys\nfrom {_MODULE} import main\nsys.exit(main())\n"
    tree.put(f"{_FOLDER}/{NAME}", launcher.encode(), 0o755)
    return PythonProgram(program.command, program.environment | {"PATH": _FOLDER})


def _standard_library() -> Iterator[Path]:
    library = Path(os.__file__).parent
    for folder, folders, files in os.walk(library):
        folders[:] = sorted(set(folders) - _NOT_FOR_PROGRAMS)
        yield from (Path(folder) / name for name in files if name.endswith(".py"))


def _files_of(package: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in Path(folder).rglob("*"):
            # Binaries are there already, without what only debuggers read.
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".so":
                yield file
