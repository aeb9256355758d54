"""The kernel's log and taint on the host where the calls are made.

There is one reader, ``kvmprobe/native/kernel_log.c``, which children of the worker use as well.
"""

from __future__ import annotations

import os

from kvmprobe.native._ffi import ffi, lib

KMSG = "/dev/kmsg"
TAINTED = "/proc/sys/kernel/tainted"
WATCHED = "watched"
_MARK = "kvmprobe[mark]: "
_RECORD_SIZE = 8192
_MARK_LENGTH = 400


class KernelLog:
    """Reads what the kernel logged since the last read; forked children share the descriptor.

    :ivar fd: for children to read; -1 where the log cannot be read
    :ivar taint_fd: of the kernel's taint; -1 where it cannot be read

    ``state`` is WATCHED, or why /dev/kmsg cannot be read.
    """

    def __init__(self, fd: int, state: str) -> None:
        self.fd = fd
        self.state = state
        self.taint_fd = _open_quietly(TAINTED)[0]

    @classmethod
    def open(cls) -> KernelLog:
        """Begin at the log's present end."""
        fd, state = _open_quietly(KMSG)
        if fd >= 0:
            os.lseek(fd, 0, os.SEEK_END)
        return cls(fd, state)

    def read(self) -> list[str]:
        """Return the kernel's messages since the last call, without time stamps.

        What user space wrote is left out: only records of facility 0 are the kernel's.
        """
        messages: list[str] = []
        text = ffi.new("char[]", _RECORD_SIZE)
        while lib.kvmprobe_next_message(self.fd, text, _RECORD_SIZE):
            messages.append(ffi.string(text).decode(errors="replace"))
        return messages

    def taint(self) -> int:
        """Return the kernel's taint bitmap, or -1 where it cannot be read."""
        if self.taint_fd < 0:
            return -1
        return int(os.pread(self.taint_fd, 64, 0))


def mark(text: str) -> bool:
    """Write a line of our own to the log, for a serial console or pstore; False if that fails.

    The newline closes the record: printk keeps one without it open, and shows it to nobody before
    the next message comes.  Each mark has a descriptor of its own because the kernel limits how
    much one may write (printk.devkmsg=ratelimit).  The kernel gives it facility 1 (LOG_USER), so no
    reader takes it for a message of the kernel.

    :see: Documentation/ABI/testing/dev-kmsg; kernel/printk/printk.c: devkmsg_write, vprintk_store
    """
    line = f"<6>{_MARK}{text}"[:_MARK_LENGTH] + "\n"
    try:
        fd = os.open(KMSG, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, line.encode("ascii", "replace"))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _open_quietly(path: str) -> tuple[int, str]:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), WATCHED
    except OSError as error:
        return -1, f"{path} cannot be read ({error.strerror}); root can"
