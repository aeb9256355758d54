"""A disk that survives the emulated machine: an ext4 image file, mounted in the guest.

The emulator writes each sector to the file at once, so what the guest has synchronised survives a
crash of the guest or the emulator.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import LabError, MissingTools, UsageError
from kvmprobe.lab.bochs_config import CYLINDER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNT_POINT = "/disk"
SMALLEST_MIB = 16  # mke2fs makes no journal below 8
_MIB = 1 << 20
# ABI: Linux Documentation/filesystems/ext4/super.rst: s_magic, byte offset in the file system.
_MAGIC_OFFSET, _MAGIC = 1024 + 0x38, b"\x53\xef"
# Not in the PATH of ordinary users.
_SYSTEM_PROGRAMS = "/usr/sbin:/sbin"
# Complete, so that nothing depends on /etc/mke2fs.conf; kernels since 3.6 can mount it.
_MAKE = (
    *("-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "kvmprobe"),
    *("-O", "none,has_journal,ext_attr,dir_index,filetype,extent,sparse_super,large_file"),
    *("-O", "metadata_csum"),
    # No initialisation left for the guest, and a root directory owned by root.
    *("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0"),
)


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk image and its mount point.

    :ivar mount_point: absolute path in the guest
    :ivar size_mib: size of a new image, MiB; None if the image must exist
    """

    path: Path
    mount_point: str = MOUNT_POINT
    size_mib: int | None = None

    @classmethod
    def parse(cls, text: str, size_mib: int | None) -> Self:
        """Parse ``FILE[:MOUNTPOINT]``; an existing file may have a colon in its name.

        :raises UsageError: the mount point is not absolute, or the size is too small
        """
        path, colon, place = text.rpartition(":")
        if not colon or Path(text).exists():
            path, place = text, MOUNT_POINT
        place = os.path.normpath(place)
        if not place.startswith("/") or place in ("/", "//"):
            raise UsageError(
                f"--disk {text}: the mount point must be an absolute path other than /"
            )
        if size_mib is not None and size_mib < SMALLEST_MIB:
            raise UsageError(f"--disk-size {size_mib}: must be at least {SMALLEST_MIB} MiB")
        return cls(Path(path), place, size_mib)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open and lock the image; make it first if it is missing and ``size_mib`` is set.

        :raises UsageError: the image is missing, in use, or not an ext4 file system
        :raises MissingTools: making it needs mke2fs, which is not installed
        :raises LabError: mke2fs failed
        """
        if not self.path.exists():
            self._make()
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from error
        try:
            self._check(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _check(self, descriptor: int) -> None:
        try:
            # The emulator inherits the descriptor: the lock lasts until both processes close it.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{self.path}: another emulated host is using it") from error
        if os.pread(descriptor, len(_MAGIC), _MAGIC_OFFSET) != _MAGIC:
            raise UsageError(
                f"{self.path}: not an ext4 file system (partitioned images are not supported)"
            )
        if os.fstat(descriptor).st_size % CYLINDER_BYTES:
            raise UsageError(f"{self.path}: its size must be a multiple of {CYLINDER_BYTES} bytes")

    def _make(self) -> None:
        if self.size_mib is None:
            raise UsageError(f"{self.path}: no such disk image; --disk-size MIB makes one")
        tool = shutil.which("mke2fs", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PROGRAMS}")
        if tool is None:
            raise MissingTools(("e2fsprogs",), "making a disk image")
        try:
            with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
                image = Path(folder) / "image"
                image.touch()
                os.truncate(image, self.size_mib * _MIB)
                made = subprocess.run(
                    [tool, *_MAKE, image], capture_output=True, text=True, check=False
                )
                if made.returncode != 0:
                    raise LabError(f"{self.path}: mke2fs failed: {made.stderr.strip()}")
                # Another process may have made it since.
                with contextlib.suppress(FileExistsError):
                    os.link(image, self.path)
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from error
