"""A command on a terminal of its own: what it wrote, and what a screen then shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass

import pyte

INTERRUPT = b"\x03"
_SECONDS = 60
# These override what the terminal says.  GNU readline, which pytest imports, exports the last two
# to all children, so that a worker of pytest-xdist has those of the terminal of pytest.
_OVERRIDES = {"CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}


@dataclass
class Terminal:
    """``press`` writes to it as a keyboard does; ``lines`` are what is to be seen, and above."""

    process: subprocess.Popen
    fd: int
    screen: pyte.Screen
    raw: bytes = b""

    @property
    def lines(self):
        above = ["".join(c.data for _, c in sorted(r.items())) for r in self.screen.history.top]
        return [line.rstrip() for line in [*above, *self.screen.display] if line.strip()]

    def press(self, keys: bytes):
        os.write(self.fd, keys)

    def read_until(self, shows):
        """Read until the screen does; fail if the command ends before."""
        assert self._read(shows), self.lines

    def _read(self, shows):
        """Read until the screen does, or the command has ended; return whether it does."""
        deadline = time.monotonic() + _SECONDS
        stream = pyte.ByteStream(self.screen)
        while not shows(self.lines):
            assert time.monotonic() < deadline, self.lines
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            try:
                got = os.read(self.fd, 65536)
            except OSError:  # EIO: nobody has the other end any more
                return False
            if not got:
                return False
            self.raw += got
            stream.feed(got)
        return True

    def go_on(self):
        """End its standard input."""
        self.process.stdin.close()

    def end(self) -> int:
        """Read all that is left; return the exit status."""
        self._read(lambda _: False)
        return self.process.wait(_SECONDS)


@contextlib.contextmanager
def on_terminal(command, *, columns=100, environ=None, **popen):
    """Start it in a session of its own with that terminal; its standard input is a pipe.

    Its environment does not say anything about CI, colours or the size.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in _OVERRIDES}
    streams = {"stdin": subprocess.PIPE, "stdout": theirs, "stderr": theirs} | popen
    with subprocess.Popen(
        command,
        env=kept | {"TERM": "xterm-256color"} | (environ or {}),
        start_new_session=True,
        # Of the tests only one thread runs.
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        **streams,
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours, pyte.HistoryScreen(columns, 30, history=10_000))
        finally:
            process.kill()
            os.close(ours)
