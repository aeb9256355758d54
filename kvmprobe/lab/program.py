"""Running a program of this host on the emulated host: its files, output and exit status.

Output of the guest is passed on at once, so that nothing the program wrote before a panic is lost.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from kvmprobe.errors import LabError, UsageError
from kvmprobe.lab import boot_image, elf, guest_files, initramfs, kernel_image, own_command
from kvmprobe.lab.emulator_process import Boot
from kvmprobe.lab.initramfs import Start
from kvmprobe.lab.machine import Machine
from kvmprobe.lab.machine_events import (
    BlocksReached,
    BootPhase,
    ConsolePanic,
    Ended,
    EndReason,
    KvmMissing,
    Output,
    Phase,
    ProgramExited,
    ProgramKilled,
    Stream,
)
from kvmprobe.lab.variant_boot import command_line, naming, processors_of
from kvmprobe.results.host_variant import DEFAULT_HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmprobe.lab.disk import Disk
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.kernel_store import Kernel
    from kvmprobe.lab.machine_events import Event
    from kvmprobe.progress import Progress
    from kvmprobe.results.host_variant import HostVariant

PANIC_STATUS = 255
SILENCE_SECONDS = 600.0
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Watch(Protocol):
    """Watches what a program reaches of the kernel."""

    def arm(self, machine: Machine) -> None:
        """Prepare a machine whose program waits for input."""

    def reached(self, bits: bytes) -> None:
        """Take what the program has reached when it ended, or the machine."""


@dataclass(frozen=True, slots=True)
class GuestFile:
    """A file or directory of this host and its absolute path in the guest."""

    path: Path
    guest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``PATH[:GUESTPATH]``; an existing file may have a colon in its name.

        :raises UsageError: the file does not exist, or the guest's path is not absolute
        """
        path, colon, guest = text.rpartition(":")
        if not colon or Path(text).exists():
            path, guest = text, str(Path(text).absolute())
        if not guest.startswith("/"):
            raise UsageError(f"--file {text}: the path in the guest must be absolute")
        if not Path(path).exists():
            raise UsageError(f"--file {path}: no such file or directory")
        return cls(Path(path), guest)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The emulated host's hardware.

    :ivar memory_mib: size of its memory, MiB; increased if the files need more
    :ivar disk: survives the emulated host
    :ivar variant: how it differs from the default host
    """

    memory_mib: int = boot_image.MEMORY_MIB
    disk: Disk | None = None
    variant: HostVariant = DEFAULT_HOST


@dataclass(frozen=True, slots=True)
class Program:
    """A command and the files it needs.

    :ivar command: its argv; the program is a path on this host, a path in the guest that is in
        ``files``, or a name to find in PATH
    :ivar files: what it needs in addition to its libraries and interpreter
    :ivar hardware: what it runs on
    :ivar pycache: directory for kvmprobe's compiled code; if set, kvmprobe is packed and the
        command ``kvmprobe`` starts it
    :ivar watch: what is watched of the kernel; None for nothing
    """

    command: tuple[str, ...]
    files: tuple[GuestFile, ...] = ()
    hardware: Hardware = Hardware()
    pycache: Path | None = None
    watch: Watch | None = None

    def payload(self) -> initramfs.Payload:
        """Collect the files.

        :raises UsageError: a file is missing or cannot be read
        """
        search = os.environ.get("PATH", _SEARCH)
        tree = initramfs.FileTree()
        environment = {"PATH": search, "HOME": "/", "LC_ALL": "C.UTF-8"}
        start: tuple[str, ...] = ()
        if self.pycache is not None:
            own = own_command.add_own_command(tree, self.pycache)
            environment |= own.environment | {"PATH": f"{search}:{own.environment['PATH']}"}
            start = own.command if self.command[0] == own_command.NAME else ()
        if not start:
            program = self._program(search)
            guest_files.add_program(tree, program.path, search)
            start = (program.guest,)
        for file in self.files:
            _add_file(tree, file)
        return initramfs.Payload(
            tree,
            (*start, *self.command[1:]),
            initramfs.Mode.EXEC,
            environment,
            self.hardware.disk.mount_point if self.hardware.disk else "",
            Start.ON_INPUT if self.watch else Start.AT_ONCE,
        )

    def _program(self, search: str) -> GuestFile:
        named = self.command[0]
        for file in self.files:
            if Path(named).is_relative_to(file.guest):
                below = file.path.absolute() / Path(named).relative_to(file.guest)
                return GuestFile(guest_files.find_program(str(below), search), named)
        found = guest_files.find_program(named, search)
        return GuestFile(found, str(found))


# The libraries of a --file that is a program or library are added as well; those of files in a
# directory if they are installed, since the program need not use every file there.
def _add_file(tree: initramfs.FileTree, file: GuestFile) -> None:
    tree.add_at(file.path, file.guest)
    if file.path.is_file():
        if elf.is_x86_64(file.path):
            guest_files.add_libraries(tree, file.path)
        return
    for child in file.path.rglob("*"):
        if child.is_file() and elf.is_x86_64(child):
            with contextlib.suppress(UsageError):
                guest_files.add_libraries(tree, child)


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where the program's output goes; kvmprobe's own messages go to ``stderr``.

    :ivar kernel_log: receives the kernel's console when the machine has ended; None to drop it
    :ivar started: called when the program starts, instead of reporting it as a stage
    """

    stdout: BinaryIO
    stderr: BinaryIO
    kernel_log: BinaryIO | None = None
    started: Callable[[], None] | None = None

    def write(self, output: Output) -> None:
        """Write a piece of output and flush it."""
        sink = self.stdout if output.stream is Stream.STDOUT else self.stderr
        sink.write(output.content)
        sink.flush()

    def report(self, text: str) -> None:
        """Write a message of kvmprobe."""
        self.stderr.write(text.encode() + b"\n")
        self.stderr.flush()


def run_program(
    kernel: Kernel,
    emulator: Emulator,
    program: Program,
    sinks: Sinks,
    progress: Progress,
    silence_seconds: float = SILENCE_SECONDS,
) -> int:
    """Boot ``kernel``, run ``program`` there and return its exit status.

    :param silence_seconds: wall time without output that counts as a hang
    :returns: its status; 128 + signal number if a signal killed it; 255 if the kernel panicked,
        and the panic's report goes to ``sinks.stderr``
    :raises UsageError: a file is missing, or the files do not fit into memory
    :raises BootFailed: the kernel panicked or hung before the program started
    :raises LabError: the machine hung or was reset, or the emulator failed
    """
    progress.stage(f"emulated host {kernel.label}: collect files")
    payload = program.payload()
    disk, variant = program.hardware.disk, program.hardware.variant
    arguments = boot_image.VERBOSE_ARGUMENTS if sinks.kernel_log else boot_image.DEFAULT_ARGUMENTS
    packed = initramfs.build(
        payload, kernel.modules, emulator.init.read_bytes(), kernel.disk_modules
    )
    image = kernel_image.read(kernel.vmlinuz)
    boot = boot_image.build(
        image,
        packed,
        max(program.hardware.memory_mib, boot_image.memory_for(image, packed)),
        command_line(arguments, variant),
        processors_of(variant),
        1 if disk else 0,
    )
    with (
        disk.opened() if disk else contextlib.nullcontext() as descriptor,
        Machine.boot(emulator, Boot(boot, descriptor)) as machine,
        _kernel_log(machine, sinks),
        naming(variant),
    ):
        progress.stage(f"emulated host {kernel.label}: boot")
        status: int | None = None
        for event in machine.events(silence_seconds):
            match event:
                case Phase(BootPhase.START) if sinks.started:
                    sinks.started()
                case Phase(BootPhase.WAIT) if program.watch:
                    program.watch.arm(machine)
                    machine.send("")
                case BlocksReached(bits) if program.watch:
                    program.watch.reached(bits)
                case Phase(phase):
                    progress.stage(f"emulated host {kernel.label}: {phase.value}")
                case _:
                    pass
            ended = _handle(event, sinks)
            status = ended if status is None else status
    if status is None:
        raise LabError("the emulated host ended without the program's exit status")
    return status


@contextlib.contextmanager
def _kernel_log(machine: Machine, sinks: Sinks) -> Iterator[None]:
    try:
        yield
    finally:
        if sinks.kernel_log is not None:
            sinks.kernel_log.write(machine.console_text.encode())
            sinks.kernel_log.flush()


# Returns the exit status if the event has one.
def _handle(event: Event, sinks: Sinks) -> int | None:
    match event:
        case Output():
            sinks.write(event)
        case KvmMissing(text):
            sinks.report(f"kvmprobe: the emulated host has no KVM: {text}")
        case ProgramExited(status):
            return status
        case ProgramKilled(signal):
            return 128 + signal
        case ConsolePanic(report):
            sinks.report(
                f"kvmprobe: the kernel panicked: {report.headline}\n{report.text.rstrip()}"
            )
            return PANIC_STATUS
        case Ended(
            EndReason.HANG
            | EndReason.STALLED
            | EndReason.RESET
            | EndReason.EMULATOR_DIED as reason,
            text,
        ):
            raise LabError(f"the emulated host ended: {reason.value}\n{text}".rstrip())
        case _:
            pass
    return None
