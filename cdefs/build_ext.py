"""Generates the C source of the two cffi extensions and compiles them; named in ``pyproject.toml``.

``kvmprobe.bindings._kvm`` makes calls, and compares what ``kvmprobe.abi`` says with the kernel's
headers; ``kvmprobe.native._executor`` runs scenarios.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cffi import FFI
from setuptools.command.build_ext import build_ext

CDEFS = Path(__file__).parent
# The environment that a package is built in has not got the package itself on its path.
sys.path.insert(0, str(CDEFS.parent))

from kvmprobe.abi.c_checks import all_checks  # noqa: E402
from kvmprobe.abi.c_constants import as_header  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

# Relative to the project, as setuptools wants sources.
NATIVE = Path("kvmprobe/native")
EXECUTOR = (
    "gate.c",
    "kernel_calls.c",
    "kernel_log.c",
    "line.c",
    "names.c",
    "payload.c",
    "port.c",
    "report.c",
    "scenario.c",
    "tasks.c",
    "zygote.c",
    "guest_payload.S",
    "task_image.S",
)
# Of a header in shared/, a unit may use a part.
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-pthread", "-fvisibility=hidden", "-Wno-unused-function"]


@dataclass(frozen=True, slots=True)
class Module:
    """What one extension is made of.

    :ivar declared: the text of its declarations, for cffi
    :ivar source: C text that is compiled with them
    :ivar units: other files to compile and link
    """

    declared: Callable[[], str]
    source: Callable[[], str]
    units: tuple[str, ...] = ()


def _texts(*names: str) -> str:
    return "\n".join((CDEFS / name).read_text() for name in names)


MODULES = {
    "kvmprobe.bindings._kvm": Module(
        lambda: _texts("run_head.h", "shim.h"),
        lambda: _texts("preamble.c", "run_head.h", "run_head_checks.c") + all_checks() + "\n",
    ),
    "kvmprobe.native._executor": Module(
        (NATIVE / "executor.h").read_text,
        lambda: '#include <stdint.h>\n#include "executor.h"\n',
        tuple(str(NATIVE / name) for name in EXECUTOR),
    ),
}


class BuildFfi(build_ext):
    """``build_ext`` that first writes each module's source and the constants that C shares."""

    def build_extensions(self) -> None:
        """Generate and compile."""
        folder = Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "constants.h").write_text(as_header())
        # The C compiler takes these as well.
        self.compiler.src_extensions.append(".S")
        for extension in self.extensions:
            module = MODULES[extension.name]
            generated = folder / f"{extension.name.rpartition('.')[2]}.c"
            ffi = FFI()
            ffi.cdef(module.declared())
            ffi.set_source(extension.name, module.source())
            ffi.emit_c_code(str(generated))
            extension.sources = [str(generated), *module.units]
            extension.include_dirs = [str(NATIVE), str(folder)]
            extension.extra_compile_args = FLAGS
            extension.extra_link_args = ["-pthread"]
        super().build_extensions()
