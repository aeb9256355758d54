"""The emulated host's processors, held to the manual by programs of ours that run on it.

Each program prints a line for each check; a test names every check that fails or has no line.
What is expected, and by which section of the manual, is in ``programs/``.
"""

import io
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

import pytest

from kvmprobe.lab import emulator, kernels
from kvmprobe.lab.program import GuestFile, Hardware, Program, Sinks, run_program
from kvmprobe.progress import Silent
from kvmprobe.results.host_variant import HostVariant
from tests.support import silicon
from tests.support.conformance import checks_of

pytestmark = pytest.mark.lab
SILENCE = 120.0
ON_ONE_PROCESSOR = (
    "xsave_user",
    "amx_user",
    "freedoms_user",
    "xsave_guest",
    "access_guest",
    "nested_guest",
)
ON_TWO_PROCESSORS = (*ON_ONE_PROCESSOR, "pinned_guest")
HOSTS = {
    "6.1-one": ("6.1", 1),
    "6.12.95-one": ("6.12.95", 1),
    "7.3.4-one": ("7.3.4", 1),
    "7.3.4-two": ("7.3.4", 2),
}
SCRIPT = """
echo "= /proc/cpuinfo"; cat /proc/cpuinfo
echo "= /proc/cmdline"; cat /proc/cmdline
for parameter in enable_apicv nested ept unrestricted_guest; do
    echo "= $parameter"; cat /sys/module/kvm_intel/parameters/$parameter
done
for program; do
    echo "= ${program##*/}"; $program; echo "status $?"
done
"""
# Words of a kernel's command line that switch off what an emulator gets wrong.
CRUTCHES = (
    *("nokaslr", "nopti", "nosmap", "mitigations=", "clearcpuid", "noxsave", "kvm", "idle="),
    *("no_timer_check", "tsc=", "noapic", "lapic", "x2apic", "acpi=", "pci=", "nosmp", "maxcpus"),
)


# Needs an AMD processor with AVX-512.
NOT_EMULATED = {"bytes-of-avx-in-init-are-zero-or-the-older"}


@dataclass
class Seen:
    """What one boot of a host showed.

    :ivar processors: how many it has been given
    :ivar text: the lines under each heading
    """

    processors: int
    text: dict[str, list[str]]

    def wrong(self, program):
        """Return the lines of checks that failed, and names of checks that have no line."""
        lines = [line for line in self.text[program] if re.match(r"(not )?ok ", line)]
        passed = {re.split(r"[ :]", line)[1] for line in lines if line.startswith("ok ")}
        failed = [line for line in lines if line.startswith("not ok ")]
        silent = [name for name in checks_of(program) if name not in passed | NOT_EMULATED]
        return failed or silent


def look(host, machine_parts, folder):
    spec, processors = HOSTS[host]
    archives, _ = machine_parts
    built = emulator.ensure(archives, Silent(), processors=processors)
    programs = ON_ONE_PROCESSOR if processors == 1 else ON_TWO_PROCESSORS
    paths = [folder / name for name in programs]
    files = [GuestFile(path, str(path)) for path in paths]
    files.append(GuestFile.parse("/bin/cat"))
    hardware = Hardware(variant=HostVariant(processors=processors))
    program = Program(("sh", "-c", SCRIPT, "sh", *map(str, paths)), tuple(files), hardware)
    kernel = kernels.resolve(spec, modules_dir=None, archives=archives, progress=Silent())
    sinks = Sinks(io.BytesIO(), io.BytesIO())
    status = run_program(kernel, built, program, sinks, Silent(), SILENCE)
    assert status == 0, sinks.stderr.getvalue().decode()
    text, heading = defaultdict(list), ""
    for line in sinks.stdout.getvalue().decode().splitlines():
        if line.startswith("= "):
            heading = line[2:]
        else:
            text[heading].append(line)
    return Seen(processors, text)


@pytest.fixture(scope="module")
def boots(machine_parts, conformance_programs):
    """Return what shows a host; each is booted once."""
    return cache(lambda host: look(host, machine_parts, conformance_programs))


@pytest.fixture(scope="module", params=HOSTS)
def seen(request, boots):
    return boots(request.param)


@pytest.fixture(scope="module", params=[host for host in HOSTS if HOSTS[host][1] == 2])
def seen_by_two(request, boots):
    return boots(request.param)


@pytest.mark.parametrize("program", ON_ONE_PROCESSOR)
def test_the_processor_behaves_as_the_manual_specifies(seen, program):
    assert seen.wrong(program) == []


@pytest.mark.parametrize("program", ON_ONE_PROCESSOR)
def test_the_program_comes_to_its_end(seen, program):
    assert seen.text[program][-1] == "status 0"


def test_what_the_manual_leaves_open_is_as_recorded(seen):
    # tests/lab/silicon.json, from which kvmprobe/model/contract/unspecified.md is made
    shown = [line for line in seen.text["freedoms_user"] if line.startswith("shows ")]
    recorded = silicon.records()[silicon.EMULATED]["programs"]["freedoms_user"]["shows"]
    assert [line.removeprefix("shows ") for line in shown] == recorded


def test_all_processors_are_up(seen):
    numbers = [line for line in seen.text["/proc/cpuinfo"] if line.startswith("processor\t")]
    assert len(numbers) == seen.processors


def test_the_processors_are_cores_of_one_package(seen):
    lines = [line.replace("\t", "") for line in seen.text["/proc/cpuinfo"]]
    assert {line for line in lines if line.startswith("cpu cores")} == {
        f"cpu cores: {seen.processors}"
    }
    assert {line for line in lines if line.startswith("core id")} == {
        f"core id: {number}" for number in range(seen.processors)
    }


@pytest.mark.parametrize("parameter", ["enable_apicv", "nested", "ept", "unrestricted_guest"])
def test_kvm_uses_what_it_uses_by_default(seen, parameter):
    assert seen.text[parameter] == ["Y"]


def test_the_kernel_is_booted_without_a_crutch(seen):
    (line,) = seen.text["/proc/cmdline"]
    assert [word for word in line.split() if word.startswith(CRUTCHES)] == []


def test_two_processors_behave_as_the_manual_specifies(seen_by_two):
    assert seen_by_two.wrong("pinned_guest") == []
