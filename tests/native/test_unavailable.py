"""Errors if /dev/kvm cannot be used."""

from __future__ import annotations

import errno
import os
import time
import traceback

import pytest

from kvmprobe.bindings.kvm import Kvm
from kvmprobe.errors import Unavailable
from kvmprobe.execution.driver import Driver, Timing
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.execution.probing import examine
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.progress import Silent
from tests.support.places import WatchedHost

NOBODY = 65534


@pytest.fixture
def missing(tmp_path):
    return str(tmp_path / "kvm")


@pytest.fixture
def forbidden(tmp_path):
    path = tmp_path / "kvm"
    path.touch(mode=0o000)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    return str(path)


def as_another_user(action):
    """Return what ``action`` returned in a child of an unprivileged user."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            said = action()
        except BaseException:
            said = traceback.format_exc()
        os.write(write_fd, said.encode())
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return said


def refusal(device):
    try:
        Kvm.open(device).close()
    except Unavailable as reason:
        return f"{reason.code}|{reason}"
    return "opened"


def test_a_missing_device_has_the_code_no_kvm(missing):
    assert refusal(missing).startswith("no_kvm|")


def test_a_missing_device_is_named_with_the_errno(missing):
    assert f"open {missing}: ENOENT ({errno.ENOENT})" in refusal(missing)


def test_a_missing_device_has_a_remedy(missing):
    assert "load kvm_intel or kvm_amd" in refusal(missing)


def test_a_forbidden_device_has_the_code_no_kvm_permission(forbidden):
    assert as_another_user(lambda: refusal(forbidden)).startswith("no_kvm_permission|")


def test_a_forbidden_device_is_named_with_the_errno(forbidden):
    assert f"open {forbidden}: EACCES (13)" in as_another_user(lambda: refusal(forbidden))


def test_a_forbidden_device_has_a_remedy(forbidden):
    assert "run as root, or as a member" in as_another_user(lambda: refusal(forbidden))


def test_a_file_that_is_not_kvm_is_unavailable(tmp_path):
    path = tmp_path / "kvm"
    path.touch()
    with pytest.raises(Unavailable, match="not a KVM device"):
        Kvm.open(str(path))


def test_the_worker_passes_the_reason_on(missing):
    with LocalLink(missing) as link, pytest.raises(Unavailable) as caught:
        examine(Driver(link, Timing()))
    assert caught.value.code == "no_kvm"


def test_a_run_without_kvm_records_nothing(missing):
    records = []
    runner = Runner(WatchedHost(missing), Hazardous.STOP, records.append, Silent())
    with pytest.raises(Unavailable):
        runner.run(lambda _: True)
    assert records == []


def test_a_run_without_kvm_leaves_no_process(missing):
    place = WatchedHost(missing)
    with pytest.raises(Unavailable):
        Runner(place, Hazardous.STOP, lambda _: None, Silent()).run(lambda _: True)
    # The first process of the system reaps what the worker leaves; give it time to.
    limit = time.monotonic() + 10.0
    while is_there(place.links[0].pid):
        assert time.monotonic() < limit
        time.sleep(0.01)


def is_there(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
