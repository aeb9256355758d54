"""Packing this installation's ``kvmprobe`` command for the guest.

It runs there as on any host: worker, model and reports are all in the guest.
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
# Packages with data files and with modules that are imported late, packed completely.
_WHOLE = ("kvmprobe", "rich", "jinja2")
# Imported late by importlib.resources; named here so that it is packed with compiled code.
_LATE = ("importlib.readers",)
_NOT_FOR_PROGRAMS = {
    *("__pycache__", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip"),
    *("site-packages", "dist-packages"),
}


def add_own_command(tree: FileTree, pycache: Path) -> PythonProgram:
    """Add ``kvmprobe`` with all its files, and the command in a directory of PATH.

    :param pycache: as for :func:`add_python`
    :returns: how to start it; scripts that start it need the environment as well
    """
    modules = tuple(
        module.name for module in pkgutil.walk_packages(kvmprobe.__path__, f"{kvmprobe.__name__}.")
    )
    program = add_python(tree, _MODULE, pycache, also=(*modules, *_LATE))
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
            # Shared objects have been added already, without debug sections.
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".so":
                yield file
