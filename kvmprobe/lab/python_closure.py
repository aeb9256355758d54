"""The files that this Python interpreter needs to run one module in the guest.

A child interpreter imports the module and prints the files that it loaded.  Compiled code is packed
as well, so that the slow guest compiles nothing; it is written below ``pycache``, never next to the
sources.  The guest's interpreter runs without ``site``: PYTHONPATH has the directories in which the
modules were found, so editable installs and ``.pth`` files need no special handling.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kvmprobe
from kvmprobe.errors import UsageError
from kvmprobe.lab.guest_files import add_libraries, without_debug_sections
from kvmprobe.native import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.lab.initramfs import FileTree

_GUEST_PYCACHE = "/usr/lib/kvmprobe/pycache"

# The child's program; its arguments are the modules to import.
_LIST_FILES = """
import importlib, json, linecache, os, runpy, sys, traceback
for name in sys.argv[1:]:
    importlib.import_module(name)
stdlib = os.path.dirname(os.__file__) + os.sep
files, libraries, roots = set(), set(), {}
for name, module in list(sys.modules.items()):
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None) or getattr(module, "__file__", None)
    loader_state = getattr(spec, "loader_state", None)
    if origin == "frozen":
        origin = getattr(loader_state, "filename", None)
    if not origin or not os.path.isfile(origin):
        continue
    files.add(origin)
    cached = getattr(spec, "cached", None)
    if cached and os.path.isfile(cached):
        files.add(cached)
    if origin.startswith(stdlib) and "-packages" not in origin:
        continue
    top = os.path.dirname(origin)
    depth = name.count(".") + bool(getattr(module, "__path__", None))
    for _ in range(depth):
        top = os.path.dirname(top)
    roots[top] = None
with open("/proc/self/maps", encoding="utf-8") as maps:
    mapped = {line.split(None, 5)[5].rstrip("\\n") for line in maps if line.count(" /")}
libraries.update(path for path in mapped if ".so" in os.path.basename(path))
libraries = set(filter(os.path.isfile, libraries))
print(json.dumps({
    "files": sorted(files - libraries),
    "libraries": sorted(libraries),
    "roots": [path for path in sys.path if path in roots]
        + [path for path in roots if path not in sys.path],
    "landmark": os.__file__,
    "dynload": next((path for path in sys.path if path.endswith("lib-dynload")), ""),
    "prefixes": [sys.prefix, sys.base_prefix, os.path.dirname(sys.executable)],
}))
"""


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """How to start the module in the guest."""

    command: tuple[str, ...]
    environment: dict[str, str]


def add_python(
    tree: FileTree, module: str, pycache: Path, also: Sequence[str] = ()
) -> PythonProgram:
    """Add this interpreter and all files that ``module`` needs.

    :param module: what ``python -m`` runs; it is imported on this host, without effect
    :param pycache: directory for compiled code, kept between calls
    :param also: modules that ``module`` imports late
    :raises UsageError: the module cannot be imported
    """
    answer = _listed(module, also, pycache)
    # The worker executes the zygote.
    binaries = [Path(name) for name in (*answer["libraries"], sys.executable, PROGRAM)]
    for path in binaries:
        add_libraries(tree, path)
    for path in binaries:
        tree.put(str(path), without_debug_sections(path.read_bytes()), 0o755)
    for path in map(Path, [*answer["files"], answer["landmark"]]):
        if path.is_relative_to(pycache):
            tree.add_at(path, f"{_GUEST_PYCACHE}/{path.relative_to(pycache)}")
        else:
            tree.add(path)
    for prefix in answer["prefixes"]:
        if (marker := Path(prefix) / "pyvenv.cfg").is_file():
            tree.add(marker)
    if answer["dynload"]:
        tree.add_directory(answer["dynload"])
    return PythonProgram(
        (sys.executable, "-P", "-S", "-m", module),
        {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(answer["roots"]),
            "PYTHONPYCACHEPREFIX": _GUEST_PYCACHE,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
        },
    )


def _listed(module: str, also: Sequence[str], pycache: Path) -> dict[str, Any]:
    """Return what the module needs.

    :raises UsageError: it cannot be imported
    """
    listing = _listing(module, also, pycache)
    if listing.returncode != 0 and (compiled := [*pycache.rglob("*.pyc")]):
        # Python does not notice that compiled code is damaged before it fails.
        for file in compiled:
            file.unlink(missing_ok=True)
        listing = _listing(module, also, pycache)
    if listing.returncode != 0:
        raise UsageError(
            f"cannot import {module} in a fresh interpreter:\n{listing.stderr.strip()}"
        )
    # The last line: modules may print when they are imported.
    answer: dict[str, Any] = json.loads(listing.stdout.splitlines()[-1])
    return answer


def _listing(module: str, also: Sequence[str], pycache: Path) -> subprocess.CompletedProcess[str]:
    # The package's own directory as well: an editable install may find it by a hook in site.
    search = [*filter(None, sys.path), str(Path(kvmprobe.__file__).parent.parent)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-P", "-S", "-c", _LIST_FILES, module, *also],
        capture_output=True,
        text=True,
        check=False,
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join(search),
            "PYTHONPYCACHEPREFIX": str(pycache),
            "PYTHONUTF8": "1",
        },
    )
