"""Generates the cffi extension's C source and compiles it; named in ``pyproject.toml``.

The declarations are exact (no ``...``), so that the compiled module compares every constant and
every layout with what the C compiler saw in the kernel's headers.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI
from setuptools.command.build_ext import build_ext

CDEFS = Path(__file__).parent
MODULE = "kvmprobe.bindings._kvm"
DECLARATIONS = (
    "arch_prctl.h",
    "kvm_system.h",
    "kvm_caps.h",
    "kvm_cpuid.h",
    "kvm_msrs.h",
    "kvm_xsave.h",
    "kvm_vm.h",
    "kvm_vcpu.h",
    "kvm_state.h",
    "run_head.h",
    "guest_payload.h",
    "executor.h",
    "shim.h",
)
SOURCES = (
    "preamble.c",
    "run_head.h",
    "layout_checks.c",
    "guest_payload.h",
    "executor.h",
    "answer.h",
    "hold.c",
    "guest_run.c",
    "sleeping.c",
    "kernel_calls.c",
    "tasks.c",
    "executor.c",
)
# Relative to the project, as setuptools wants it.
ASSEMBLY = ("cdefs/guest_payload.S", "cdefs/task_image.S")


class BuildFfi(build_ext):
    """``build_ext`` that writes the source of ``kvmprobe.bindings._kvm`` first."""

    def build_extensions(self) -> None:
        """Generate and compile."""
        ffi = FFI()
        for name in DECLARATIONS:
            ffi.cdef((CDEFS / name).read_text())
        ffi.set_source(MODULE, "\n".join((CDEFS / name).read_text() for name in SOURCES))
        generated = Path(self.build_temp) / "_kvm.c"
        generated.parent.mkdir(parents=True, exist_ok=True)
        ffi.emit_c_code(str(generated))
        # The C compiler takes these as well.
        self.compiler.src_extensions.append(".S")
        for extension in self.extensions:
            extension.sources = [str(generated), *ASSEMBLY]
        super().build_extensions()
