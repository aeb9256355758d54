from __future__ import annotations

import pytest

from kvmprobe.bindings import Kvm, Regs, VcpuFd, VmFd
from kvmprobe.errors import KernelCallError
from kvmprobe.execution.driver import Driver
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.probing import examine


def pytest_collection_modifyitems(items):
    for item in items:
        if "/native/" in item.nodeid or item.nodeid.startswith("tests/native/"):
            item.add_marker(pytest.mark.kvm)


@pytest.fixture
def kvm():
    with Kvm.open() as opened:
        yield opened


@pytest.fixture
def vm(kvm):
    with kvm.create_vm() as created:
        yield created


@pytest.fixture
def vcpu(vm):
    with vm.create_vcpu(0) as created:
        yield created


@pytest.fixture
def guest(vm, vcpu):
    """Real-mode code at 0x1000 in 64 KiB of memory: what ``guest(code, registers)`` runs first."""
    memory = vm.map_memory(0, 0, bytes(0x10000))

    def started(code, **registers):
        memory[0x1000 : 0x1000 + len(code)] = code
        sregs = vcpu.get_sregs()
        sregs.cs.base = sregs.cs.selector = 0
        vcpu.set_sregs(sregs)
        vcpu.set_regs(Regs(rip=0x1000, rsp=0x8000, **registers))
        return memory

    return started


@pytest.fixture
def closed(kvm):
    """One closed descriptor of each class."""
    with kvm.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        pass
    with Kvm.open() as opened:
        pass
    return {Kvm: opened, VmFd: vm, VcpuFd: vcpu}


@pytest.fixture(scope="session")
def examined():
    place = ThisHost()
    with place.open() as link:
        return examine(Driver(link, place.timing))


@pytest.fixture
def refused():
    """Calls what has to be refused with an errno that has a meaning."""

    def check(number, call, *arguments):
        with pytest.raises(KernelCallError) as caught:
            call(*arguments)
        assert caught.value.errno == number, str(caught.value)
        assert caught.value.meaning

    return check
