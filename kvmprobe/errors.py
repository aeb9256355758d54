"""All exceptions that kvmprobe raises on purpose.

Bottom layer: imports nothing of kvmprobe.  A divergence is a verdict and an expected errno is an
outcome, not an exception.
"""

from __future__ import annotations

import errno as errno_names
import os
from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit status of the ``kvmprobe`` command."""

    OK = 0
    DIVERGED = 1
    USAGE = 2
    TOOL_BUG = 3
    NOTHING_RAN = 4
    RUN_TIMEOUT = 124
    INTERRUPTED = 130


# Python calls 95 ENOTSUP; the kernel and its documentation say EOPNOTSUPP.  It has no EHWPOISON
# before version 3.14.
_KERNEL_NAMES = {errno_names.EOPNOTSUPP: "EOPNOTSUPP", 133: "EHWPOISON"}


def errno_name(number: int) -> str:
    """Return ``EINVAL (22)`` for 22."""
    name = _KERNEL_NAMES.get(number) or errno_names.errorcode.get(number)
    return f"{name or 'errno'} ({number})"


class KvmprobeError(Exception):
    """Base class; ``exit_code`` is the exit status of the command."""

    exit_code = ExitCode.TOOL_BUG


class UsageError(KvmprobeError):
    """Wrong arguments or files, which the user has to correct."""

    exit_code = ExitCode.USAGE


class RunDirectoryError(UsageError):
    """A run's directory is full, failing or in use; its contents stay."""


class ReportFileError(UsageError):
    """A report cannot be written during the run; what has been written stays."""


class OutputLost(KvmprobeError):
    """Standard output cannot be written; ``reader_gone`` is true for a pipe without a reader."""

    exit_code = ExitCode.USAGE

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.reader_gone = error.errno == errno_names.EPIPE


class Unavailable(KvmprobeError):
    """The host lacks a requirement; ``code`` is the reason for programs, such as ``no_kvm``."""

    exit_code = ExitCode.NOTHING_RAN

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class KernelCallError(KvmprobeError, OSError):
    """A system call failed; only the typed wrappers raise it.

    :ivar call: symbolic name of the call
    :ivar target: the descriptor or process that it was made on
    :ivar errno: errno number
    :ivar meaning: what the errno means for this call; empty if that is unknown
    """

    exit_code = ExitCode.NOTHING_RAN

    def __init__(self, call: str, target: str, number: int, meaning: str = "") -> None:
        OSError.__init__(self, number, os.strerror(number))
        self.call = call
        self.target = target
        self.meaning = meaning

    def __str__(self) -> str:
        name = errno_name(self.errno or 0)
        return f"{self.call} on {self.target}: {name}: {self.meaning or self.strerror}"


class LayoutError(KvmprobeError, ValueError):
    """Bytes that are not a valid XSAVE image, CPUID table or structure."""


class ScenarioError(KvmprobeError, ValueError):
    """A scenario names an unknown op, or refers to an output that no op binds."""

    exit_code = ExitCode.USAGE


class NotModelled(ScenarioError):
    """A scenario does what the model has no rule for: it is refused, not judged."""


class ModelBug(KvmprobeError, AssertionError):
    """The model reached a state that its rules exclude."""


class WorkerError(KvmprobeError):
    """The worker, which makes the kernel calls, broke its protocol or died between scenarios."""


class RunTimeout(KvmprobeError):
    """The run reached its --timeout."""

    exit_code = ExitCode.RUN_TIMEOUT


class HostStuck(KvmprobeError):
    """A task on this host cannot be killed; no scenario can run before a reboot."""

    exit_code = ExitCode.DIVERGED

    def __str__(self) -> str:
        return f"{super().__str__()}; reboot, then run `kvmprobe resume DIR`"


class CompilerFailed(KvmprobeError):
    """A program that kvmprobe generated does not compile."""


class LabError(KvmprobeError):
    """The emulated host cannot be used; its scenarios stay untested."""

    exit_code = ExitCode.NOTHING_RAN


class MissingTools(LabError):
    """Programs or packages that the lab needs are missing; ``names`` lists them."""

    def __init__(self, names: tuple[str, ...], purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {', '.join(names)}, which is not installed; "
            f"on Debian or Ubuntu: apt-get install {' '.join(names)}"
        )
        self.names = names


class DownloadFailed(LabError):
    """An index, package or tarball cannot be downloaded."""


class VerificationFailed(LabError):
    """A download does not match its signature or hash."""


class KernelNotFound(LabError):
    """No kernel matches the SPEC; a SPEC that cannot be parsed is a UsageError."""


class NoSpace(LabError):
    """The file system of the cache or of temporary files is full."""


class EmulatorBuildFailed(LabError):
    """Configuring or compiling the emulator failed; the message has the path of the log."""


class BootFailed(LabError):
    """The kernel under test did not start kvmprobe; ``last_lines`` is the end of its console."""

    def __init__(self, message: str, last_lines: tuple[str, ...]) -> None:
        super().__init__(message)
        self.last_lines = last_lines
