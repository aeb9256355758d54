"""Reading files below /proc, /sys and /boot, and recording why one cannot be read."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostFiles:
    """The files below ``root``, which is / except in tests.

    :ivar absent: why a file could not be read, by its path
    """

    root: Path = Path("/")
    absent: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Return where a file such as ``/proc/cmdline`` is."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """Return a file's text, stripped; None if it cannot be read."""
        content = self.content(name)
        return None if content is None else content.decode(errors="replace").strip()

    def content(self, name: str) -> bytes | None:
        """Return a file's bytes; None if it cannot be read."""
        try:
            return self.path(name).read_bytes()
        except OSError as error:
            self.absent[name] = error.strerror or str(error)
            return None

    def number(self, name: str) -> int | None:
        """Return the number at the start of a file; None if there is none."""
        text = self.text(name)
        if text is None:
            return None
        with contextlib.suppress(ValueError, IndexError):
            return int(text.split()[0], 0)
        self.absent[name] = f"not a number: {text[:40]}"
        return None

    def texts(self, folder: str) -> dict[str, str]:
        """Return the text of each file in a folder, by name, or ``unreadable``."""
        found: dict[str, str] = {}
        for path in self.entries(folder):
            try:
                found[path.name] = path.read_text(errors="replace").strip()
            except IsADirectoryError:
                continue
            except OSError:
                found[path.name] = "unreadable"
        return found

    def boot_id(self) -> str:
        """Return the boot id; empty if it cannot be read.

        :see: drivers/char/random.c: proc_do_uuid
        """
        return self.text("/proc/sys/kernel/random/boot_id") or ""

    def entries(self, folder: str) -> list[Path]:
        """Return the entries of a folder, sorted; none if it cannot be read."""
        try:
            return sorted(self.path(folder).iterdir())
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """Return True if a file or folder exists and may be seen by this user."""
        return os.access(self.path(name), os.F_OK)
