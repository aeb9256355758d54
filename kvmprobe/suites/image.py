"""What boots on the emulated host: the kernel under test with the programs of a suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.lab import boot_image, guest_files, initramfs, kernel_image
from kvmprobe.lab.variant_boot import command_line, processors_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kvmprobe.lab.boot_image import BootImage
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.kernel_store import Kernel
    from kvmprobe.results.host_variant import HostVariant

FOLDER = "/kselftest"
# Some tests have guests of one GiB. The emulator has no more than two.
MEMORY_MIB = 2048


class SuiteImage:
    """A boot image whose first process waits for the command of a test."""

    def __init__(
        self, kernel: Kernel, emulator: Emulator, programs: Iterable[Path], variant: HostVariant
    ) -> None:
        """Prepare it.

        :param programs: they are in ``FOLDER``
        """
        self._kernel = kernel
        self._emulator = emulator
        self._programs = tuple(programs)
        self._variant = variant
        self._made: BootImage | None = None

    def get(self) -> BootImage:
        """Return it."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def drop(self) -> None:
        """Free its memory."""
        self._made = None

    def _make(self) -> BootImage:
        files = initramfs.FileTree()
        for program in self._programs:
            files.add_at(program, guest_path(program))
            guest_files.add_libraries(files, program)
        payload = initramfs.Payload(
            files,
            (FOLDER,),
            initramfs.Mode.EXEC,
            {"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C"},
            start=initramfs.Start.ON_INPUT,
        )
        packed = initramfs.build(payload, self._kernel.modules, self._emulator.init.read_bytes())
        kernel = kernel_image.read(self._kernel.vmlinuz)
        return boot_image.build(
            kernel,
            packed,
            max(MEMORY_MIB, boot_image.memory_for(kernel, packed)),
            command_line(boot_image.DEFAULT_ARGUMENTS, self._variant),
            processors_of(self._variant),
        )


def guest_path(program: Path) -> str:
    """Return where a program is in the guest."""
    return f"{FOLDER}/{program.name}"
