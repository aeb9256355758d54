"""Why a program cannot be recorded: what was tried, what the kernel answered, what to do."""

import errno
import os

import pytest

from kvmprobe.abi.recorder import TraceFailure
from kvmprobe.errors import Unavailable, UsageError
from kvmprobe.tracer.refusals import check_command, check_process, failure
from tests.support.host_tree import HostTree

YAMA = "/proc/sys/kernel/yama/ptrace_scope"
# CapEff with CAP_SYS_PTRACE (bit 19: linux/capability.h), and without.
ROOT, NOBODY = "CapEff:\t000001ffffffffff\n", "CapEff:\t0000000000000000\n"


@pytest.fixture
def tree(tmp_path):
    tree = HostTree(tmp_path / "root")
    tree.put("/proc/self/status", NOBODY)
    return tree


@pytest.fixture
def setgid(tmp_path):
    program = tmp_path / "setgid"
    program.write_text("#!/bin/sh\n")
    os.chown(program, -1, os.getegid() + 1)
    program.chmod(0o2755)
    return str(program)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to a group")


@needs_root
def test_a_program_with_privileges_is_refused(tree, setgid):
    with pytest.raises(Unavailable, match=r"is setgid .*run kvmprobe as root") as refused:
        check_command([setgid], tree.files)
    assert refused.value.code == "privileged_program"


@needs_root
def test_a_program_with_privileges_is_recorded_by_who_may_trace_all(tree, setgid):
    tree.put("/proc/self/status", ROOT)
    check_command([setgid], tree.files)


def test_a_traced_process_is_refused_with_its_tracer(tree):
    tree.put("/proc/77/status", "Name:\tvmm\nTracerPid:\t12\n")
    tree.put("/proc/12/comm", "gdb\n")
    with pytest.raises(Unavailable, match=r"process 77 is already traced, by gdb \(12\)"):
        check_process(77, tree.files)


def test_a_process_that_is_not_there_is_refused(tree):
    with pytest.raises(UsageError, match="--pid 78: there is no such process"):
        check_process(78, tree.files)


def test_kvmprobe_does_not_record_itself(tree):
    tree.put(f"/proc/{os.getpid()}/status", "TracerPid:\t0\n")
    with pytest.raises(UsageError, match="this is kvmprobe itself"):
        check_process(os.getpid(), tree.files)


def _advice(tree):
    return str(failure(TraceFailure.TRACE_NO_SEIZE, errno.EPERM, "process 9", tree.files))


@pytest.mark.parametrize(
    ("scope", "advice"),
    [
        ("1", "ptrace_scope is 1: only a program that kvmprobe starts"),
        ("2", "ptrace_scope is 2: run kvmprobe as root"),
        ("3", "ptrace_scope is 3: no program can be traced until a reboot"),
    ],
)
def test_yama_is_named_with_what_to_do(tree, scope, advice):
    tree.put(YAMA, scope)
    told = _advice(tree)
    assert told.startswith("ptrace(PTRACE_SEIZE) on process 9 returned EPERM (1): Operation not")
    assert advice in told


def test_without_yama_the_capability_is_named(tree):
    assert "run kvmprobe as root, or with CAP_SYS_PTRACE" in _advice(tree)


def test_root_is_not_told_to_be_root(tree):
    tree.put("/proc/self/status", ROOT)
    assert "as root" not in _advice(tree)


def test_every_failure_names_call_subject_and_answer(tree):
    for step in TraceFailure:
        told = str(failure(step, errno.EIO, "vmm", tree.files))
        assert "vmm" in told
        if step is not TraceFailure.TRACE_NO_PROCESS:
            assert "EIO (5)" in told
