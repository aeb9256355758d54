"""Reads the kernel's log after user space has overwritten what was not read yet."""

import os
import sys

sys.path[:] = sys.argv[1:]

from kvmprobe.host.kernel_log import KMSG, KernelLog  # noqa: E402 - the path is an argument

# CONFIG_LOG_BUF_SHIFT is at most 25; what a kernel for the lab has fits many times.
LINES, LENGTH = 8192, 900

log = KernelLog.open()
for _ in range(LINES):
    # A descriptor of its own for each: printk.devkmsg=ratelimit
    fd = os.open(KMSG, os.O_WRONLY)
    os.write(fd, b"<4>" + b"x" * LENGTH + b"\n")
    os.close(fd)
print(log.read())
