"""What the library promises: names, docstrings, and errnos that agree with what errors say."""

from __future__ import annotations

import errno
import inspect
import re

import pytest

from kvmprobe import bindings, model, xstate
from kvmprobe.abi import errnos, ioctls
from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.bindings import Kvm, VcpuFd, VmFd, permission
from kvmprobe.execution import running_host

PACKAGES = [bindings, xstate, model, running_host]
CALLS = {"_issue", "_move", "_get", "_set", "_index_list"}


def public_names():
    return {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in PACKAGES
        for name in package.__all__
        if inspect.isclass(getattr(package, name)) or inspect.isfunction(getattr(package, name))
    }


def methods():
    """Each public method of a descriptor, once, with the class it is found in."""
    found = {}
    for cls in (Kvm, VmFd, VcpuFd):
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_"):
                found[method.__qualname__] = method
    return found


def called(function):
    """The names of the kernel calls in a function's text."""
    text = inspect.getsource(function).partition('"""')[2].partition('"""')[2]
    names = [getattr(ioctls, name).name for name in re.findall(r"ioctls\.([A-Z_0-9]+)\b", text)]
    return names + [f"ARCH_{code}" for code in re.findall(r"ArchPrctlCode\.([A-Z_]+)", text)]


REQUESTS = {
    name: function
    for name, function in inspect.getmembers(permission, inspect.isfunction)
    if not name.startswith("_") and name in bindings.__all__
}
ISSUING = {
    name: function
    for name, function in (methods() | REQUESTS).items()
    if called(function) and name != "Kvm.open"
}


def documented(function):
    """The errnos of a docstring, with their meanings; line breaks do not count."""
    text = re.sub(r"\s+", " ", inspect.getdoc(function) or "")
    part = re.search(r":raises KernelCallError: (.*?)(?= :\w|>>>|$)", text)
    if part is None:
        return {}
    entries = re.findall(r"([A-Z0-9]+) - (.*?)(?=; [A-Z0-9]+ - |$)", part[1].strip())
    return {getattr(errno, name): meaning for name, meaning in entries}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_no_name_is_public_twice(package):
    assert len(set(package.__all__)) == len(package.__all__)


def test_every_public_name_is_documented():
    names = public_names()
    assert names
    assert [name for name, value in names.items() if not inspect.getdoc(value)] == []


def test_every_public_method_is_documented():
    assert [name for name, method in methods().items() if not inspect.getdoc(method)] == []


def explained_errnos(function):
    """The errnos of its calls with the meanings that errors have."""
    if function.__name__ in {"nested_size", "xsave_size"}:
        return {}
    found = {}
    for name in called(function):
        found |= errnos.ERRNOS.get(name, {})
    return found


def test_the_docstring_has_the_errnos_that_errors_explain():
    assert {name: documented(function) for name, function in ISSUING.items()} == {
        name: explained_errnos(function) for name, function in ISSUING.items()
    }


def test_the_docstring_names_its_source():
    source = re.compile(r":see:\s+(Documentation|arch)/")
    assert [n for n, f in ISSUING.items() if not source.search(inspect.getdoc(f) or "")] == []


def names_its_call(function):
    """Where the call is another's, it names that one."""
    names = {name.removeprefix("ARCH_").removeprefix("KVM_") for name in called(function)}
    text = inspect.getdoc(function) or ""
    return any(name in text for name in names) or "KVM_CAP_" in text


def test_the_docstring_names_the_kernel_call():
    assert [name for name, function in ISSUING.items() if not names_its_call(function)] == []


def test_only_calls_that_exist_have_errnos():
    known = {spec.name for spec in ioctls.ALL} | {f"ARCH_{code.name}" for code in ArchPrctlCode}
    assert errnos.ERRNOS.keys() <= known


def test_no_meaning_needs_to_be_cut():
    # "; " ends a meaning in docstrings.
    meanings = [(call, text) for call, known in errnos.ERRNOS.items() for text in known.values()]
    assert [pair for pair in meanings if "; " in pair[1] or not pair[1]] == []


def test_an_error_says_what_its_errno_means():
    with pytest.raises(bindings.KernelCallError) as caught:
        Kvm(-1).vcpu_mmap_size()
    name = "KVM_GET_VCPU_MMAP_SIZE on /dev/kvm"
    assert str(caught.value) == f"{name}: EBADF (9): the descriptor is closed"


def test_an_errno_without_a_meaning_has_the_systems_text():
    error = bindings.KernelCallError("KVM_RUN", "vCPU", errno.EXDEV)
    assert str(error) == "KVM_RUN on vCPU: EXDEV (18): Invalid cross-device link"
