"""The hazard gate of a real host, tried where a panic costs nothing: inside the emulated one.

kvmprobe runs there as it would on a user's AMX host, with that host's /dev/kvm.
"""

import io
from pathlib import Path

import pytest

from kvmprobe import results
from kvmprobe.lab import boot_image, emulator, initramfs, kernel_image, kernels
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.emulator_process import Boot
from kvmprobe.lab.machine import Machine
from kvmprobe.lab.machine_events import ConsolePanic, Output, ProgramExited
from kvmprobe.lab.program import Sinks
from kvmprobe.lab.python_closure import add_python
from kvmprobe.progress import Silent
from tests.support.gate_program import ENDED

pytestmark = pytest.mark.lab
PROGRAM = "tests.support.gate_program"
IMPORTED_LATE = (
    "kvmprobe.execution.worker",
    "kvmprobe.execution.facts",
    "importlib.readers",
    "importlib.resources._adapters",
)
DATA = Path(results.__file__).parent / "known_defects.toml"
SILENCE = 120.0


def run(spec, *policies):
    """Return by policy each order's verdict, KVM_RUNs and known defects; and how it all ended."""
    archives = Archives(Cache.from_environment())
    kernel = kernels.resolve(spec, modules_dir=None, archives=archives, progress=Silent())
    built = emulator.ensure(archives, Silent())
    files = initramfs.FileTree()
    python = add_python(files, PROGRAM, archives.cache.folder("pycache"), also=IMPORTED_LATE)
    files.add(DATA)
    command = (*python.command, *policies)
    payload = initramfs.Payload(files, command, initramfs.Mode.EXEC, python.environment)
    packed = initramfs.build(payload, kernel.modules, built.init.read_bytes())
    image = boot_image.build(kernel_image.read(kernel.vmlinuz), packed, boot_image.MEMORY_MIB)
    sinks = Sinks(io.BytesIO(), io.BytesIO())
    endings = []
    with Machine.boot(built, Boot(image)) as machine:
        for event in machine.events(SILENCE):
            if isinstance(event, Output):
                sinks.write(event)
            elif isinstance(event, ConsolePanic | ProgramExited):
                endings.append(event)
    assert endings[:1] != [ProgramExited(1)], sinks.stderr.getvalue().decode()
    by_policy, records = {}, {}
    for line in sinks.stdout.getvalue().decode().splitlines():
        first, *others = line.split(" ")
        if others == [ENDED]:
            by_policy[first], records = records, {}
        else:
            records[first] = tuple(others)
    return by_policy, endings[0]


@pytest.fixture(scope="module")
def on_real_host():
    """Two policies in one boot of a kernel with O1; the second ends it."""
    return run("7.3.4", "STOP", "FIRST_OF_A_KIND")


def test_no_load_that_can_panic_is_issued(on_real_host):
    records, _ = on_real_host
    stopped = {order for order, (_, runs, _) in records["STOP"].items() if runs == "0"}
    # XFD is armed after the image with tiles: O1.
    assert stopped == {
        "cpuid-xcrs-xsave-msrs",
        "cpuid-xsave-msrs-xcrs",
        "cpuid-xsave-xcrs-msrs",
    }


def test_orders_that_the_kernel_survives_are_run_to_their_end(on_real_host):
    records, _ = on_real_host
    passed = {order: seen for order, seen in records["STOP"].items() if seen[0] == "PASS"}
    assert passed == {
        "cpuid-msrs-xcrs-xsave": ("PASS", "1", ""),
        "cpuid-msrs-xsave-xcrs": ("PASS", "1", ""),
        "cpuid-xcrs-msrs-xsave": ("PASS", "1", ""),
    }


def test_the_switch_for_hazards_lets_the_host_panic(on_real_host):
    records, ended = on_real_host
    assert (list(records), type(ended)) == (["STOP"], ConsolePanic)
