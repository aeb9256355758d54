"""The reader of /dev/kmsg returns only messages of the kernel."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import subprocess
from functools import partial

import pytest

from kvmprobe.execution.wire import define
from kvmprobe.host.kernel_log import KMSG, KernelLog, mark
from kvmprobe.native import PROGRAM
from kvmprobe.scenarios.calls import OpenKvm
from tests.support.raw_worker import raw_worker

LIBC = ctypes.CDLL(None, use_errno=True)
USER_LINE = "<4>backup: WARNING: disk nearly full\n"

pytestmark = pytest.mark.skipif(
    not os.access(KMSG, os.R_OK | os.W_OK), reason="/dev/kmsg is for root"
)


def by_user_space():
    """Write to the log; the line is in it, for whoever does not skip it."""
    fd = os.open(KMSG, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, USER_LINE.encode())
        assert b"backup: WARNING" in b"".join(iter(partial(record_of, fd), b""))
    finally:
        os.close(fd)


def record_of(fd):
    """The next record of the log; empty at its end."""
    try:
        return os.read(fd, 8192)
    except BlockingIOError:
        return b""


def by_the_kernel():
    # A mount that is refused is logged: fs/fs_context.c: logfc
    LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, b"kvmprobe-test")
    return ctypes.get_errno()


@pytest.fixture(params=["worker", "scenario"])
def read(request):
    """Both readers, which begin at the log's present end."""
    if request.param == "worker":
        log = KernelLog.open()
        yield log.read
        os.close(log.fd)
        return
    with raw_worker() as worker:
        yield lambda: worker.run(OpenKvm("kvm")).lines[0]["k"]


def of_this_test(messages):
    """The kernel may have more to say: other tests run guests."""
    return [m for m in messages if "backup" in m or "kvmprobe" in m]


def test_a_message_of_user_space_is_skipped(read):
    by_user_space()
    assert of_this_test(read()) == []


def test_our_own_mark_is_skipped(read):
    assert mark("a test")
    assert of_this_test(read()) == []


def test_a_kernel_message_between_others_is_read(read):
    by_user_space()
    if by_the_kernel() == errno.EPERM:
        pytest.skip("not allowed to mount")
    mark("a test")
    assert of_this_test(read()) == ["tmpfs: Unknown parameter 'kvmprobe-test'"]


def test_a_log_that_cannot_be_read_has_no_messages():
    assert KernelLog(-1, "not for us").read() == []


def test_a_scenario_without_a_log_has_no_messages():
    to_worker, from_worker = os.pipe(), os.pipe()
    numbers = ("0", "-1", "-1", to_worker[1], from_worker[0], os.getpid())
    lines = f"D 0 {define(OpenKvm('kvm')).words}\nR 0 0 1000 1000 0 ; \n"
    ran = subprocess.run(
        [PROGRAM, "/dev/kvm", *map(str, numbers)],
        input=lines.encode(),
        stdout=subprocess.PIPE,
        pass_fds=(to_worker[1], from_worker[0]),
        check=True,
    )
    for descriptor in (*to_worker, *from_worker):
        os.close(descriptor)
    step, end = map(json.loads, ran.stdout.splitlines())
    assert (step["k"], end["k"], end["taint"]) == ([], [], -1)


def test_a_mark_is_visible_at_once():
    fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.lseek(fd, 0, os.SEEK_END)
        mark("a test of marks")
        assert select.select([fd], [], [], 2)[0]
        assert b"a test of marks\n" in os.read(fd, 8192)
    finally:
        os.close(fd)


def test_a_long_mark_is_cut_and_closed():
    fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.lseek(fd, 0, os.SEEK_END)
        mark("m" * 1000)
        assert select.select([fd], [], [], 2)[0]
    finally:
        os.close(fd)
