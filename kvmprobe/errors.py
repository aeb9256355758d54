"""Every exception that kvmprobe raises on purpose.

Bottom layer: imports nothing of kvmprobe.  A divergence is a verdict and an expected errno is an
outcome; the classes here are for questions that could not be asked.
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
    """Base of all; ``exit_code`` is what the command line ends with."""

    exit_code = ExitCode.TOOL_BUG


class UsageError(KvmprobeError):
    """Arguments or files that the user has to mend."""

    exit_code = ExitCode.USAGE


class RunDirectoryError(UsageError):
    """A run's directory cannot be written: full, failing, or in use; what it has is kept."""


class ReportFileError(UsageError):
    """A report's file does not take more while the run goes on; what it has is kept."""


class OutputLost(KvmprobeError):
    """Standard output takes no more; ``reader_gone`` where it is a pipe that nobody reads."""

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

    ``call`` is its symbolic name, ``target`` what it was made on, ``errno`` what came back,
    ``meaning`` what that says of this call, or nothing.
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
    """Bytes do not have the form that is asked for: an XSAVE image, a CPUID table, a structure."""


class ScenarioError(KvmprobeError, ValueError):
    """A scenario names an unknown op, or a reference that nothing binds."""

    exit_code = ExitCode.USAGE


class NotModelled(ScenarioError):
    """A scenario does what the model has no rule for: it is refused, not judged."""


class ModelBug(KvmprobeError, AssertionError):
    """The model reached a state that its own rules exclude."""


class WorkerError(KvmprobeError):
    """The process that makes the kernel calls broke its protocol or died outside a scenario."""


class RunTimeout(KvmprobeError):
    """The deadline of the whole run passed."""

    exit_code = ExitCode.RUN_TIMEOUT


class HostStuck(KvmprobeError):
    """A task on this host cannot be killed, and nothing more can be asked before a reboot."""

    exit_code = ExitCode.DIVERGED

    def __str__(self) -> str:
        return f"{super().__str__()}; reboot, then go on with `kvmprobe resume DIR`"


class CompilerFailed(KvmprobeError):
    """A program that kvmprobe wrote does not compile."""


class LabError(KvmprobeError):
    """The emulated host could not be made to answer; what was asked of it stays untested."""

    exit_code = ExitCode.NOTHING_RAN


class MissingTools(LabError):
    """Programs or packages that the lab needs are not installed; ``names`` lists them."""

    def __init__(self, names: tuple[str, ...], purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {', '.join(names)}, not found here; "
            f"on Debian or Ubuntu: apt-get install {' '.join(names)}"
        )
        self.names = names


class DownloadFailed(LabError):
    """An index, package or tarball could not be fetched."""


class VerificationFailed(LabError):
    """What was fetched does not match its signature or hash."""


class KernelNotFound(LabError):
    """No kernel matches the SPEC; a SPEC that cannot be parsed is a UsageError."""


class NoSpace(LabError):
    """The cache's or the temporary file system is full."""


class EmulatorBuildFailed(LabError):
    """Configuring or compiling the emulator failed; the message tells where the log is."""


class BootFailed(LabError):
    """The kernel under test never ran kvmprobe; ``last_lines`` is its console's end."""

    def __init__(self, message: str, last_lines: tuple[str, ...]) -> None:
        super().__init__(message)
        self.last_lines = last_lines
