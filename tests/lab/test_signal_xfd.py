"""B2, of the host alone: a signal handler that is entered with another process's IA32_XFD."""

import io

import pytest

from kvmprobe.lab import kernels
from kvmprobe.lab.program import GuestFile, Program, Sinks, run_program
from kvmprobe.progress import Silent

pytestmark = pytest.mark.lab
SILENCE = 120.0
# 388eff894d6b ("x86/fpu: Ensure XFD state on signal delivery") is in 6.12.58 and 6.18.
KERNELS = {"6.12.43": "executed", "7.3.4": "refused"}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_handler_of_a_process_without_permission_for_tiles(
    machine_parts, conformance_programs, kernel
):
    archives, built = machine_parts
    path = conformance_programs / "signal_xfd"
    program = Program((str(path),), (GuestFile(path, str(path)),))
    found = kernels.resolve(kernel, modules_dir=None, archives=archives, progress=Silent())
    sinks = Sinks(io.BytesIO(), io.BytesIO())
    status = run_program(found, built, program, sinks, Silent(), SILENCE)
    assert (status, sinks.stdout.getvalue().decode().split()) == (0, [KERNELS[kernel]])
