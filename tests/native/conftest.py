from __future__ import annotations

import pytest

from kvmprobe.bindings.kvm import Kvm
from kvmprobe.execution.driver import Driver
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.preflight import examine


def pytest_collection_modifyitems(items):
    for item in items:
        if "/native/" in item.nodeid or item.nodeid.startswith("tests/native/"):
            item.add_marker(pytest.mark.kvm)


@pytest.fixture
def kvm():
    with Kvm.open() as opened:
        yield opened


@pytest.fixture(scope="session")
def examined():
    place = ThisHost()
    with place.open() as link:
        return examine(Driver(link, place.timing))
