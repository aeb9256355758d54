"""The two programs of the emulated machine that kvmprobe brings: firmware and first process.

This host's compiler builds them from ``guest/``, once for each version of the sources.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import EmulatorBuildFailed
from kvmprobe.lab import build_step
from kvmprobe.lab.seal import is_whole, seal

if TYPE_CHECKING:
    from kvmprobe.lab.cache import Cache
    from kvmprobe.progress import Progress

TOOLS = {"gcc": "gcc", "ld": "binutils", "setpriv": "util-linux"}
_SOURCES = Path(__file__).parent / "guest"
_INIT = ("gcc", "-static", "-Os", "-s", "-std=gnu11", "-Wall", "-Wextra", "-o")
_ASSEMBLE = ("gcc", "-m64", "-c", "-o", "firmware.o")
# The ROM is the last 64 KiB below 4 GiB, which has the reset vector.
_LINK = ("ld", "-N", "-Ttext=0xffff0000", "--oformat=binary", "-e", "0", "-o", "firmware.bin")
_ROM_BYTES = 0x10000


@dataclass(frozen=True, slots=True)
class GuestPrograms:
    """Paths of the compiled programs."""

    firmware: Path
    init: Path


def ensure(cache: Cache, progress: Progress) -> GuestPrograms:
    """Return the compiled programs; compile them if they are not in the cache, or damaged.

    :raises MissingTools: compiler or linker is not installed
    :raises EmulatorBuildFailed: one of them fails; the message has the path of the log
    """
    sources = [_SOURCES / "init.c", _SOURCES / "firmware.S"]
    content = b"".join(source.read_bytes() for source in sources)
    key = hashlib.sha256(content + repr((_INIT, _ASSEMBLE, _LINK)).encode()).hexdigest()[:16]
    final = cache.root / "guest-programs" / key
    if not is_whole(final):
        build_step.require_tools(TOOLS, "building the emulated host's firmware and init")
        with cache.locked("the emulated host's firmware and init", progress):
            if not is_whole(final):
                _build(cache, final)
    return GuestPrograms(final / "firmware.bin", final / "init")


def _build(cache: Cache, final: Path) -> None:
    log = build_step.BuildLog(cache.folder("logs") / "guest-programs.log", "the guest's programs")
    log.start()
    with cache.scratch() as work:
        result = work / "result"
        result.mkdir()
        build_step.run([*_INIT, "init", _SOURCES / "init.c"], result, log)
        build_step.run([*_ASSEMBLE, _SOURCES / "firmware.S"], result, log)
        build_step.run([*_LINK, "firmware.o"], result, log)
        (result / "firmware.o").unlink()
        if (result / "firmware.bin").stat().st_size != _ROM_BYTES:
            raise EmulatorBuildFailed("guest/firmware.S: the assembled firmware is not 64 KiB long")
        seal(result)
        cache.publish(result, final)
