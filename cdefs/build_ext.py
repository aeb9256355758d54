"""Generates the C source of the two cffi extensions and compiles them; named in ``pyproject.toml``.

``kvmprobe.bindings._kvm`` makes calls, and compares what ``kvmprobe.abi`` says with the kernel's
headers; ``kvmprobe.native._executor`` runs scenarios.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cffi import FFI
from setuptools.command.build_ext import build_ext
from setuptools.errors import LinkError

CDEFS = Path(__file__).parent
# The environment that a package is built in has not got the package itself on its path.
sys.path.insert(0, str(CDEFS.parent))

from kvmprobe.abi.c_checks import all_checks  # noqa: E402
from kvmprobe.abi.c_constants import as_header  # noqa: E402
from kvmprobe.build_inputs import mark  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from setuptools import Extension

# Relative to the project, as setuptools wants sources.
NATIVE = Path("kvmprobe/native")
IN_PYTHON = (
    "gate.c",
    "kernel_log.c",
    "payload.c",
    "port.c",
    "report.c",
    "guest_payload.S",
)
IN_ZYGOTE = (
    *IN_PYTHON,
    "arena.c",
    "branch.c",
    "channel.c",
    "competitor.c",
    "guest_calls.c",
    "kernel_calls.c",
    "known.c",
    "line.c",
    "live.c",
    "live_call.S",
    "live_changes.c",
    "live_pattern.c",
    "local.c",
    "moves.c",
    "names.c",
    "scenario.c",
    "tasks.c",
    "wire.c",
    "zygote.c",
    "task_image.S",
)
IN_RECORDER = (
    "tracing/attach.c",
    "tracing/calls.c",
    "tracing/events.c",
    "tracing/memory.c",
    "tracing/recorder.c",
    "tracing/rules.c",
    "tracing/run_area.c",
    "tracing/start.c",
    "tracing/stops.c",
    "tracing/threads.c",
    "tracing/vcpus.c",
)
PROGRAMS = {
    "kvmprobe.native.zygote": IN_ZYGOTE,
    "kvmprobe.native.recorder": IN_RECORDER,
}
# A static program has fewer pages and mappings to fork.  Where there is no static libc, functions
# are resolved at the start, since each scenario's process would resolve them again.
STATIC, DYNAMIC = ["-static", "-s"], ["-Wl,-z,now", "-s"]
# Nothing reads it at run time: kvmprobe/build_inputs.py finds it in the file.
MARK = '__attribute__((used)) static const char built_from[] = "{}";\n'
# Of a header in shared/, a unit may use a part.
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-pthread", "-fvisibility=hidden", "-Wno-unused-function"]
# What GCC 14 refuses, every compiler refuses.
FLAGS += [
    f"-Werror={mistake}"
    for mistake in ("implicit-function-declaration", "int-conversion", "incompatible-pointer-types")
]


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
        tuple(str(NATIVE / name) for name in IN_PYTHON),
    ),
}


class BuildFfi(build_ext):
    """``build_ext`` that first writes each module's source and the constants that C shares."""

    def build_extensions(self) -> None:
        """Generate and compile."""
        folder = Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "constants.h").write_text(as_header())
        marked = MARK.format(mark())
        (folder / "mark.c").write_text(marked)
        # The C compiler takes these as well.
        self.compiler.src_extensions.append(".S")
        for extension in self.extensions:
            extension.include_dirs = [str(NATIVE), str(folder)]
            if extension.name in PROGRAMS:
                continue
            module = MODULES[extension.name]
            generated = folder / f"{extension.name.rpartition('.')[2]}.c"
            ffi = FFI()
            ffi.cdef(module.declared())
            ffi.set_source(extension.name, module.source() + marked)
            ffi.emit_c_code(str(generated))
            extension.sources = [str(generated), *module.units]
            extension.extra_compile_args = FLAGS
            extension.extra_link_args = ["-pthread"]
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        """Compile an extension, or link the program that is listed as one."""
        if ext.name not in PROGRAMS:
            super().build_extension(ext)
            return
        objects = self.compiler.compile(
            [*(str(NATIVE / name) for name in PROGRAMS[ext.name]), f"{self.build_temp}/mark.c"],
            output_dir=f"{self.build_temp}/{ext.name}",
            include_dirs=ext.include_dirs,
            extra_postargs=["-O2", *FLAGS],
        )
        place = Path(self.get_ext_fullpath(ext.name))
        link = partial(self.compiler.link_executable, objects, place.name, str(place.parent))
        try:
            link(extra_postargs=["-pthread", *STATIC])
        except LinkError:
            link(extra_postargs=["-pthread", *DYNAMIC])

    def get_ext_filename(self, fullname: str) -> str:
        """Return where an extension is placed; a program's name has no suffix."""
        if fullname.rpartition(".")[2] in {name.rpartition(".")[2] for name in PROGRAMS}:
            return str(Path(*fullname.split(".")))
        return str(super().get_ext_filename(fullname))  # type: ignore[no-untyped-call]
