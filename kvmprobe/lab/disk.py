"""A disk that outlives its machine: an ext4 image file of this host, mounted in the guest.

The emulator writes each sector to the file when the guest's disk does, so that what the guest has
synchronised is in the file whatever happens to either.  Knows nothing of kernels.
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
SMALLEST_MIB = 16  # mke2fs makes no journal on less than 8
_MIB = 1 << 20
# ABI: Linux Documentation/filesystems/ext4/super.rst: s_magic, byte offset in the file system.
_MAGIC_OFFSET, _MAGIC = 1024 + 0x38, b"\x53\xef"
# Where users who are not root have no PATH to.
_SYSTEM_PROGRAMS = "/usr/sbin:/sbin"
# Said in full, because what is left out comes from /etc/mke2fs.conf; any kernel since 3.6 knows it.
_MAKE = (
    *("-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "kvmprobe"),
    *("-O", "none,has_journal,ext_attr,dir_index,filetype,extent,sparse_super,large_file"),
    *("-O", "metadata_csum"),
    # Nothing for the guest's kernel to do later, and a root directory that is root's.
    *("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0"),
)


@dataclass(frozen=True, slots=True)
class Disk:
    """An image and where the guest has it.

    :ivar mount_point: absolute path in the guest
    :ivar size_mib: what it is made with if it is not there, MiB; None if it has to be there
    """

    path: Path
    mount_point: str = MOUNT_POINT
    size_mib: int | None = None

    @classmethod
    def parse(cls, text: str, size_mib: int | None) -> Self:
        """Read ``FILE`` or ``FILE:MOUNTPOINT``; a file that has a colon in its name is itself.

        :raises UsageError: the mount point is not absolute, or the size is too small
        """
        path, colon, place = text.rpartition(":")
        if not colon or Path(text).exists():
            path, place = text, MOUNT_POINT
        place = os.path.normpath(place)
        if not place.startswith("/") or place in ("/", "//"):
            raise UsageError(f"{text}: the mount point must be absolute, and not /")
        if size_mib is not None and size_mib < SMALLEST_MIB:
            raise UsageError(f"a disk has at least {SMALLEST_MIB} MiB, not {size_mib}")
        return cls(Path(path), place, size_mib)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Give the image's descriptor, for reading and writing, to one user at a time.

        :raises UsageError: it is not there, not usable, not an ext4 file system, or in use
        :raises MissingTools: it is to be made, and mke2fs is not installed
        :raises LabError: it could not be made
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
            # The emulator inherits it: the lock lasts until both have closed it.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{self.path}: another emulated host is using it") from error
        if os.pread(descriptor, len(_MAGIC), _MAGIC_OFFSET) != _MAGIC:
            raise UsageError(f"{self.path}: not an ext4 file system (a partition table?)")
        if os.fstat(descriptor).st_size % CYLINDER_BYTES:
            raise UsageError(f"{self.path}: its size is no multiple of {CYLINDER_BYTES} bytes")

    def _make(self) -> None:
        if self.size_mib is None:
            raise UsageError(f"{self.path}: no such disk (--disk-size MIB makes one)")
        tool = shutil.which("mke2fs", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PROGRAMS}")
        if tool is None:
            raise MissingTools(("e2fsprogs",), "making a disk")
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
                # Whoever made it in the meantime was first.
                with contextlib.suppress(FileExistsError):
                    os.link(image, self.path)
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from error
