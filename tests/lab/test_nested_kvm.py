"""A nested KVM guest: the emulated host's KVM runs Linux, whose KVM runs a guest that uses tiles.

The inner kernel is booted by ``programs/linux_guest.c`` with what boots the outer one, by the same
entry; its first process reports over the same ports.
"""

import io
import re

import pytest

from kvmprobe.lab import boot_image, initramfs, kernel_image, kernels
from kvmprobe.lab.machine_events import Output, Phase, ProgramExited, decode
from kvmprobe.lab.program import GuestFile, Hardware, Program, Sinks, run_program
from kvmprobe.progress import Silent
from tests.support.conformance import checks_of

pytestmark = pytest.mark.lab
KERNEL = "7.3.4"
SILENCE = 300.0
INNER_MIB, OUTER_MIB = 256, 1024
CHECKS = checks_of("xsave_guest")


@pytest.fixture(scope="module")
def inner_events(machine_parts, conformance_programs, tmp_path_factory):
    """Return what the inner machine told, as events."""
    archives, built = machine_parts
    folder = tmp_path_factory.mktemp("inner")
    kernel = kernels.resolve(KERNEL, modules_dir=None, archives=archives, progress=Silent())
    inner = Program((str(conformance_programs / "xsave_guest"),)).payload()
    packed = initramfs.build(inner, kernel.modules, built.init.read_bytes())
    image = boot_image.build(kernel_image.read(kernel.vmlinuz), packed, INNER_MIB)
    files, words = [], []
    for number, part in enumerate(image.parts):
        (folder / str(number)).write_bytes(part.content)
        files.append(GuestFile(folder / str(number), f"/inner/{number}"))
        words.append(f"{part.address:x}=/inner/{number}")
    host = conformance_programs / "linux_guest"
    program = Program(
        (str(host), str(INNER_MIB), *words), tuple(files), Hardware(memory_mib=OUTER_MIB)
    )
    sinks = Sinks(io.BytesIO(), io.BytesIO())
    status = run_program(kernel, built, program, sinks, Silent(), SILENCE)
    assert status == 0, sinks.stderr.getvalue().decode()
    return [decode(line, 0.0) for line in sinks.stdout.getvalue().splitlines()]


@pytest.fixture(scope="module")
def inner_lines(inner_events):
    output = b"".join(event.content for event in inner_events if isinstance(event, Output))
    return output.decode().splitlines()


def test_the_inner_kernel_has_kvm_and_its_program_succeeds(inner_events):
    phases = [event.phase.value for event in inner_events if isinstance(event, Phase)]
    assert phases == ["init", "modules", "start"]
    assert inner_events[-1] == ProgramExited(0)


@pytest.mark.parametrize("name", CHECKS)
def test_the_inner_kernels_guest_sees_what_the_manual_says(inner_lines, name):
    lines = [line for line in inner_lines if re.match(rf"(not )?ok {name}[ :]", line)]
    assert lines
    assert [line for line in lines if not line.startswith("ok ")] == []
