"""The exceptions of kvmprobe.

A divergence is a verdict and an expected errno is an outcome, not an exception: these classes are
for operations that failed, so that nothing could be judged.
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
# Not of the kernel: kvmprobe/abi/executor.py, RunFault.
_OWN_NAMES = {4097: "the call did not wait for KVM_RUN", 4098: "KVM_RUN did not end with EINTR"}


def errno_name(number: int) -> str:
    """Return ``EINVAL (22)`` for 22."""
    own = _KERNEL_NAMES | _OWN_NAMES
    name = own.get(number) or errno_names.errorcode.get(number)
    return f"{name or 'errno'} ({number})"


class KvmprobeError(Exception):
    """Base class; ``exit_code`` is the exit status of the command."""

    exit_code = ExitCode.TOOL_BUG


class UsageError(KvmprobeError):
    """An argument or file of the user is wrong."""

    exit_code = ExitCode.USAGE


class RunDirectoryError(UsageError):
    """A run directory cannot be written: disk full, I/O error, or in use; its content is kept."""


class ReportFileError(UsageError):
    """A report file cannot be written during the run; its content is kept."""


class RecordingError(UsageError):
    """A file is not a recording that this kvmprobe reads; the message has its path and line."""


class RecordingTruncated(RecordingError):
    """A recording has no end; what was before it was read."""


class OutputLost(KvmprobeError):
    """Standard output cannot be written; ``reader_gone`` if it is a pipe without a reader."""

    exit_code = ExitCode.USAGE

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.reader_gone = error.errno == errno_names.EPIPE


class Unavailable(KvmprobeError):
    """The host lacks something; ``code`` is the machine-readable reason, such as ``no_kvm``."""

    exit_code = ExitCode.NOTHING_RAN

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class KernelCallError(KvmprobeError, OSError):
    """A system call failed; raised by the typed wrappers only.

    :ivar call: symbolic name of the call
    :ivar target: the descriptor it was issued on, such as ``vCPU``
    :ivar meaning: the meaning of ``errno`` for this call; empty if unknown
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
    """Bytes have the wrong form for an XSAVE image, a CPUID table or a structure."""


class ScenarioError(KvmprobeError, ValueError):
    """A scenario has an unknown op or an unbound reference."""

    exit_code = ExitCode.USAGE


class NotModelled(ScenarioError):
    """The model does not cover the scenario: it is refused, not judged."""


class StaleBuild(KvmprobeError):
    """A compiled part was built from other sources than those in use; nothing was tested."""


class ModelBug(KvmprobeError, AssertionError):
    """The model reached a state that its rules exclude."""


class NoVcpu(ModelBug):
    """A call is made on a vCPU that no call before it created.

    A kernel with a defect can refuse to create what the scenario goes on to use.
    """


class WorkerError(KvmprobeError):
    """The worker process violated its protocol, or died outside a scenario."""


class RunTimeout(KvmprobeError):
    """The timeout of the whole run expired."""

    exit_code = ExitCode.RUN_TIMEOUT


class HostStuck(KvmprobeError):
    """A task on this host cannot be killed; nothing can be tested before a reboot."""

    exit_code = ExitCode.DIVERGED

    def __str__(self) -> str:
        return f"{super().__str__()}; reboot, then continue with `kvmprobe resume DIR`"


class FleetError(KvmprobeError):
    """The scheduler of a campaign or its workers are lost, or cannot run it."""

    exit_code = ExitCode.NOTHING_RAN


class CompilerFailed(KvmprobeError):
    """A C program that kvmprobe generated does not compile."""


class LabError(KvmprobeError):
    """The emulated host cannot be used; nothing was tested on it."""

    exit_code = ExitCode.NOTHING_RAN


class MissingTools(LabError):
    """Programs or packages that the lab needs are not installed; ``names`` lists them."""

    def __init__(self, names: tuple[str, ...], purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {', '.join(names)}, which is not installed; "
            f"on Debian or Ubuntu: apt-get install {' '.join(names)}"
        )
        self.names = names


class DownloadFailed(LabError):
    """An index, package or tarball could not be fetched."""


class VerificationFailed(LabError):
    """A downloaded file does not match its signature or hash."""


class KernelNotFound(LabError):
    """No kernel matches the SPEC; an invalid SPEC is a UsageError."""


class NoCoverage(LabError):
    """Coverage of a kernel cannot be measured; the message has the reason."""


class NoDebugFiles(LabError):
    """A kernel's source lines cannot be told; the message has the reason."""


class NoSpace(LabError):
    """The file system of the cache or of temporary files is full."""


class EmulatorBuildFailed(LabError):
    """Configuring or compiling the emulator failed; the message has the path of the log."""


class BootFailed(LabError):
    """The kernel under test did not boot; ``last_lines`` is the end of its console."""

    def __init__(self, message: str, last_lines: tuple[str, ...]) -> None:
        super().__init__(message)
        self.last_lines = last_lines


class EmulatorKilled(BootFailed):
    """The emulator was killed while the kernel booted, by the OOM killer or an administrator."""
