"""Threads of a VMM while a guest runs under VMX: calls that wait, debuggers and core dumps."""

import io
from collections import defaultdict

import pytest

from kvmprobe.lab import emulator, kernels
from kvmprobe.lab.program import GuestFile, Hardware, Program, Sinks, run_program
from kvmprobe.progress import Silent
from kvmprobe.results.host_variant import HostVariant
from tests.support.vmm_programs import PROGRAMS, not_passed

pytestmark = pytest.mark.lab
SILENCE = 120.0
HOSTS = {
    "6.12.95-one": ("6.12.95", 1),
    "7.3.4-two": ("7.3.4", 2),
}
SCRIPT = """
echo /core >/proc/sys/kernel/core_pattern
echo "= running_vcpu"; $1
echo "= regsets"; $2; $2 /core
"""


@pytest.fixture(scope="module", params=HOSTS)
def seen(request, machine_parts, conformance_programs):
    """The lines of each program."""
    spec, processors = HOSTS[request.param]
    archives, _ = machine_parts
    built = emulator.ensure(archives, Silent(), processors=processors)
    paths = [str(conformance_programs / name) for name in PROGRAMS]
    files = tuple(GuestFile.parse(path) for path in paths)
    hardware = Hardware(variant=HostVariant(processors=processors))
    program = Program(("sh", "-c", SCRIPT, "sh", *paths), files, hardware)
    kernel = kernels.resolve(spec, modules_dir=None, archives=archives, progress=Silent())
    sinks = Sinks(io.BytesIO(), io.BytesIO())
    run_program(kernel, built, program, sinks, Silent(), SILENCE)
    lines, program = defaultdict(list), ""
    for line in (sinks.stdout.getvalue() + sinks.stderr.getvalue()).decode().splitlines():
        program = line[2:] if line.startswith("= ") else program
        lines[program].append(line)
    return lines


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_check_passes(seen, program):
    assert not_passed(program, seen[program]) == []
