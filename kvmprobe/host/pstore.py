"""The report of this host's last panic, from pstore or systemd's copy of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.results.console_text import find_panic

if TYPE_CHECKING:
    from kvmprobe.results.console_text import PanicReport

_PSTORE = Path("/sys/fs/pstore")
_ARCHIVE = Path("/var/lib/systemd/pstore")
_HEADER = re.compile(r"^(?:Panic|Oops|Emergency|Shutdown|Unknown)#(\d+) Part(\d+)$")


def last_panic(
    since: float, pstore: Path = _PSTORE, archive: Path = _ARCHIVE
) -> PanicReport | None:
    """Return the newest panic in pstore or in systemd's archive of it; None if there is none.

    :param since: seconds since the epoch; older records are ignored
    :see: fs/pstore/platform.c: pstore_dump; systemd-pstore.service(8)
    """
    try:
        kept = [f for f in pstore.glob("dmesg-*") if f.stat().st_mtime >= since]
        moved = [f for f in archive.rglob("dmesg*") if f.stat().st_mtime >= since]
        texts = [f.read_text(encoding="utf-8", errors="replace") for f in (*kept, *moved)]
    except OSError:
        return None
    return find_panic("\n".join(_in_order(texts)))


def _in_order(texts: list[str]) -> list[str]:
    """Return the texts oldest first; part 1 of a dump is its end."""

    def position(text: str) -> tuple[int, int]:
        header = _HEADER.match(text.partition("\n")[0])
        return (int(header[1]), -int(header[2])) if header else (0, 0)

    ordered = sorted(texts, key=position)
    return [t.partition("\n")[2] if _HEADER.match(t.partition("\n")[0]) else t for t in ordered]
