"""What the tests on the emulated host share: the emulator, and programs of ours to run on it."""

import subprocess
from pathlib import Path

import pytest

from kvmprobe.lab import emulator
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.progress import Silent

SOURCES = Path(__file__).parent / "programs"
# Vector registers are what the programs' assembly makes them; a program's pages are its guest's.
COMPILE = (
    *("gcc", "-static", "-no-pie", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    *("-mgeneral-regs-only", "-mno-red-zone", "-fno-stack-protector", "-minline-all-stringops"),
)


@pytest.fixture(scope="session")
def machine_parts():
    """Return the archives and the emulator."""
    archives = Archives(Cache.from_environment())
    return archives, emulator.ensure(archives, Silent())


@pytest.fixture(scope="session")
def conformance_programs(tmp_path_factory):
    """Return the folder of the compiled programs."""
    folder = tmp_path_factory.mktemp("conformance")
    for source in SOURCES.glob("*.c"):
        subprocess.run([*COMPILE, "-o", folder / source.stem, source], check=True)
    return folder
