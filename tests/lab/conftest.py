"""What the tests on the emulated host share: the emulator, and programs of ours to run on it."""

import pytest

from kvmprobe.lab import emulator
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.progress import Silent
from tests.support.conformance import SOURCES, compiled


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
        compiled(source.stem, folder)
    return folder
