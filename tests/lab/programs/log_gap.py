"""Reads the kernel's log after user space has overwritten what was not read yet."""

import os
import sys

RELEASE, *PATH = sys.argv[1:]
sys.path[:0] = PATH

from kvmprobe.host.kernel_log import KMSG, KernelLog  # noqa: E402 - the path is an argument

# More than a kernel of the lab has room for.
LINES, LENGTH = 1024, 900


def overwrite():
    for _ in range(LINES):
        # A descriptor of its own for each: printk.devkmsg=ratelimit
        fd = os.open(KMSG, os.O_WRONLY)
        os.write(fd, b"<4>" + b"x" * LENGTH + b"\n")
        os.close(fd)


log = KernelLog.open()
# Nobody else's log: outside of the lab, the program only shows what it loads.
if os.uname().release.startswith(RELEASE):
    overwrite()
print(f"messages: {log.read()}")
