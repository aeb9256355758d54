"""Why a program cannot be recorded: what is checked before, and what the recorder reports."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.abi.recorder import TraceFailure
from kvmprobe.errors import Unavailable, UsageError, errno_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.errors import KvmprobeError
    from kvmprobe.host.files import HostFiles

_CAP_SYS_PTRACE = 19
_FILE_CAPABILITIES = "security.capability"
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"


def check_command(command: Sequence[str], files: HostFiles) -> None:
    """Check that a command can be started and recorded.

    :raises UsageError: there is no such program, or it is not executable
    :raises Unavailable: ``privileged_program``: the kernel would take its privileges away
    """
    name = command[0]
    path = shutil.which(name)
    if path is None:
        raise UsageError(_not_found(name))
    privileges = _privileges(Path(path))
    if privileges and not _may_trace_all(files):
        raise Unavailable(
            "privileged_program",
            f"{path} {privileges}, which the kernel does not grant to a traced program; run "
            "kvmprobe as root, or with CAP_SYS_PTRACE",
        )


def check_process(pid: int, files: HostFiles) -> None:
    """Check that a process exists and is not traced.

    :raises UsageError: there is no such process, or it is kvmprobe itself
    :raises Unavailable: ``already_traced``
    """
    status = files.text(f"/proc/{pid}/status")
    if status is None:
        raise UsageError(f"--pid {pid}: there is no such process")
    if pid == os.getpid():
        raise UsageError(f"--pid {pid}: this is kvmprobe itself")
    tracer = _number(status, "TracerPid")
    if tracer:
        name = files.text(f"/proc/{tracer}/comm") or "unknown"
        raise Unavailable(
            "already_traced",
            f"process {pid} is already traced, by {name} ({tracer}); a process has one tracer: "
            "end that one first",
        )


def failure(step: TraceFailure, error: int, subject: str, files: HostFiles) -> KvmprobeError:
    """Return the error for a step of the recorder that failed.

    :param subject: the command or the process
    """
    answer = f"{errno_name(error)}: {os.strerror(error)}"
    match step:
        case TraceFailure.TRACE_NO_EXEC:
            return UsageError(f"cannot execute {subject}: {answer}")
        case TraceFailure.TRACE_NO_PROCESS:
            return UsageError(f"{subject}: there is no such process")
        case TraceFailure.TRACE_NO_FILTER:
            return Unavailable(
                "no_seccomp",
                f"seccomp(SECCOMP_SET_MODE_FILTER) for {subject} returned {answer}; the kernel "
                "needs CONFIG_SECCOMP_FILTER, and a sandbox around kvmprobe must allow it",
            )
        case TraceFailure.TRACE_NO_SEIZE:
            return Unavailable(
                "no_ptrace",
                f"ptrace(PTRACE_SEIZE) on {subject} returned {answer}; {_advice(files)}",
            )
        case TraceFailure.TRACE_NO_SYSCALL_INFO:
            return Unavailable(
                "old_kernel",
                f"ptrace(PTRACE_GET_SYSCALL_INFO) on {subject} returned {answer}; recording needs "
                "Linux 5.3",
            )


def _advice(files: HostFiles) -> str:
    scope = files.number(_YAMA)
    if scope and not _may_trace_all(files):
        advice = {
            1: f"{_YAMA} is 1: only a program that kvmprobe starts can be traced without "
            "CAP_SYS_PTRACE; start it by `kvmprobe trace -- COMMAND`, or run kvmprobe as root",
            2: f"{_YAMA} is 2: run kvmprobe as root, or with CAP_SYS_PTRACE",
        }
        return advice.get(scope, f"{_YAMA} is {scope}: no program can be traced until a reboot")
    if _may_trace_all(files):
        return "another program traces it, or a sandbox around kvmprobe forbids ptrace"
    return (
        "the program belongs to another user or has privileges: run kvmprobe as root, or with "
        "CAP_SYS_PTRACE; or another program traces it, or a sandbox forbids ptrace"
    )


def _not_found(name: str) -> str:
    path = Path(name)
    if path.is_dir():
        return f"{name}: a directory, not a program"
    if path.exists() and "/" in name:
        return f"{name}: not executable: chmod +x {name}, or name the interpreter"
    return f"{name}: no such program" + ("" if "/" in name else " in PATH")


def _privileges(path: Path) -> str:
    """Return which privileges a program gets from its file."""
    found = path.stat()
    if found.st_mode & stat.S_ISUID and found.st_uid != os.geteuid():
        return f"is setuid (user {found.st_uid})"
    if found.st_mode & stat.S_ISGID and found.st_gid != os.getegid():
        return f"is setgid (group {found.st_gid})"
    return "has file capabilities" if _has_capabilities(path) else ""


def _has_capabilities(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, _FILE_CAPABILITIES))
    except OSError:
        return False


def _may_trace_all(files: HostFiles) -> bool:
    status = files.text("/proc/self/status") or ""
    return bool(_number(status, "CapEff", 16) >> _CAP_SYS_PTRACE & 1)


def _number(status: str, name: str, base: int = 10) -> int:
    """Return a number of /proc/PID/status; 0 if it is not there."""
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0], base)
    return 0
