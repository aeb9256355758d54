"""The reader of /dev/kmsg returns only messages of the kernel."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
from pathlib import Path

import pytest

from kvmprobe.execution.kernel import Limits, Session
from kvmprobe.host.kernel_log import KMSG, KernelLog, mark
from kvmprobe.scenarios.calls import OpenKvm

LIBC = ctypes.CDLL(None, use_errno=True)
USER_LINE = "<4>backup: WARNING: disk nearly full\n"

pytestmark = pytest.mark.skipif(
    not os.access(KMSG, os.R_OK | os.W_OK), reason="/dev/kmsg is for root"
)


def by_user_space():
    Path(KMSG).write_text(USER_LINE)


def by_the_kernel():
    # A mount that is refused is logged: fs/fs_context.c: logfc
    LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, b"kvmprobe-test")
    return ctypes.get_errno()


@pytest.fixture
def log():
    opened = KernelLog.open()
    yield opened
    os.close(opened.fd)


def read_by_a_scenario(log):
    """Return the kernel messages in the line of a scenario's step."""
    from_child, to_us = os.pipe()
    session = Session("/dev/kvm", log.fd, to_us)
    session.define(0, OpenKvm("kvm"))
    session.run(0, [[0]], 0, Limits(10, 10))
    session._retire()
    os.close(to_us)
    with os.fdopen(from_child) as reader:
        return json.loads(reader.readline()).get("k", [])


def of_this_test(messages):
    """The kernel may have more to say: other tests run guests."""
    return [m for m in messages if "backup" in m or "kvmprobe" in m]


READERS = {"worker": KernelLog.read, "scenario": read_by_a_scenario}
each_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@each_reader
def test_a_message_of_user_space_is_skipped(log, read):
    by_user_space()
    assert of_this_test(read(log)) == []


@each_reader
def test_our_own_mark_is_skipped(log, read):
    assert mark("a test")
    assert of_this_test(read(log)) == []


@each_reader
def test_a_kernel_message_between_others_is_read(log, read):
    by_user_space()
    if by_the_kernel() == errno.EPERM:
        pytest.skip("not allowed to mount")
    mark("a test")
    assert of_this_test(read(log)) == ["tmpfs: Unknown parameter 'kvmprobe-test'"]


@each_reader
def test_a_log_that_cannot_be_read_has_no_messages(read):
    assert read(KernelLog(-1, "not for us")) == []


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
