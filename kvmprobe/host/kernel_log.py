"""The kernel's log and taint on the host where the calls are made."""

from __future__ import annotations

import os
import select

KMSG = "/dev/kmsg"
TAINTED = "/proc/sys/kernel/tainted"
WATCHED = "watched"
_MARK = "kvmprobe[mark]: "
_RECORD_SIZE = 8192
_MARK_LENGTH = 400


class KernelLog:
    """Reads what the kernel said since the last read; forked children share the descriptor.

    :ivar fd: to be read by children, too; -1 where there is none

    Without the right to read /dev/kmsg there is nothing to read, and ``state`` says why.
    """

    def __init__(self, fd: int, state: str) -> None:
        self.fd = fd
        self.state = state
        self._readable = select.poll()
        if fd >= 0:
            self._readable.register(fd, select.POLLIN)
        self._taint_fd = _open_quietly(TAINTED)[0]

    @classmethod
    def open(cls) -> KernelLog:
        """Begin at the log's present end."""
        fd, state = _open_quietly(KMSG)
        if fd >= 0:
            os.lseek(fd, 0, os.SEEK_END)
        return cls(fd, state)

    def read(self) -> list[str]:
        """Return the messages since the last call, without time stamps."""
        messages: list[str] = []
        while self._readable.poll(0):
            try:
                record = os.read(self.fd, _RECORD_SIZE)
            except BrokenPipeError:
                messages.append("kvmprobe: kernel log records were lost before they were read")
                continue
            text = record.partition(b";")[2].partition(b"\n")[0]
            if not text.startswith(_MARK.encode()):
                messages.append(text.decode(errors="replace"))
        return messages

    def taint(self) -> int:
        """Return the kernel's taint bitmap, or -1 where it cannot be read."""
        if self._taint_fd < 0:
            return -1
        return int(os.pread(self._taint_fd, 64, 0))


def mark(text: str) -> bool:
    """Leave a line of our own in the log, for a serial console or pstore; False where none can.

    A worker does not take it for something the kernel said.  Each mark has a descriptor of its own:
    the kernel limits how much one may write (printk.devkmsg=ratelimit).

    :see: Documentation/ABI/testing/dev-kmsg; kernel/printk/printk.c: devkmsg_write
    """
    try:
        fd = os.open(KMSG, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, f"<6>{_MARK}{text}"[:_MARK_LENGTH].encode("ascii", "replace"))
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
