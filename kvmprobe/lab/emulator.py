"""Building the patched emulator from Debian's source tarball, once; later it is in the cache.

Each combination of tarball, patches and options has a directory of its own.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.lab import build_step, guest_programs
from kvmprobe.lab.cache import require_space
from kvmprobe.lab.seal import is_whole, seal

if TYPE_CHECKING:
    from kvmprobe.lab.archive import Archives
    from kvmprobe.lab.cache import Cache
    from kvmprobe.progress import Progress

VERSION = "3.0"
POOL_PATH = "pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz"
_TARBALL_BYTES = 3_896_488
_TARBALL_SHA256 = "78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b"
_PATCHES = Path(__file__).parent / "patches"
_TOOLS = {
    "gcc": "gcc",
    "g++": "g++",
    "make": "make",
    "patch": "patch",
    "setpriv": "util-linux",
} | guest_programs.TOOLS
# A program at a fixed address that is compiled for speed: 1.1 times as fast as -O2.
_COMPILER = {
    "CFLAGS": "-O2 -pipe",
    "CXXFLAGS": "-O3 -fno-pie -fno-stack-protector -pipe",
    "LDFLAGS": "-no-pie",
}
_CONFIGURE = (
    "./configure",
    "--enable-x86-64",
    "--enable-cpu-level=6",
    "--enable-vmx=2",
    "--enable-avx",
    "--enable-evex",
    "--enable-amx",
    "--enable-protection-keys",
    "--enable-cet",
    "--enable-uintr",
    "--enable-perfmon",
    "--enable-memtype",
    "--enable-all-optimizations",
    "--enable-pci",
    "--enable-long-phy-address",
    "--with-nogui",
    "--disable-docbook",
)
# An emulator of one processor is 1.15 times as fast: it finds the processor without a pointer.
_SEVERAL_PROCESSORS = ("--enable-smp",)
_BUILD_BYTES = 400_000_000
_COMPILED_FILES = 466


@dataclass(frozen=True, slots=True)
class Emulator:
    """The programs that a machine needs.

    :ivar bochs: the emulator
    :ivar firmware: the machine's ROM
    :ivar init: the guest's first process, part of every initramfs
    """

    bochs: Path
    firmware: Path
    init: Path


def ensure(
    archives: Archives, progress: Progress, *, tarball: Path | None = None, processors: int = 1
) -> Emulator:
    """Return the emulator; build it if it is not in the cache, or damaged there.

    There is one for machines with a single processor, and one for the others.

    :param archives: where the tarball comes from; the result is kept in their cache
    :param tarball: the user's own copy of the tarball
    :param processors: of the machine
    :raises MissingTools: the build needs programs that are not installed
    :raises DownloadFailed: no archive has the tarball; VerificationFailed: its hash is wrong
    :raises EmulatorBuildFailed: the message has the path of the log
    :raises NoSpace: the cache's file system is full
    """
    cache = archives.cache
    options = _SEVERAL_PROCESSORS if processors > 1 else ()
    recipe = _Recipe(tuple(sorted(_PATCHES.glob("*.patch"))), _CONFIGURE + options)
    final = cache.root / "emulator" / recipe.name
    if not is_whole(final):
        build_step.require_tools(_TOOLS, "building the emulator")
        source = archives.fetch_source_tarball(
            POOL_PATH, _TARBALL_BYTES, _TARBALL_SHA256, progress, local=tarball
        )
        with cache.locked("the emulator", progress):
            if not is_whole(final):
                _build(cache, source, recipe, final, progress)
    programs = guest_programs.ensure(cache, progress)
    return Emulator(final / "bochs", programs.firmware, programs.init)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What is done to the tarball: patches, and the command that configures it."""

    patches: tuple[Path, ...]
    configure: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the directory of what it makes."""
        state = hashlib.sha256(repr((_TARBALL_SHA256, _COMPILER, self.configure)).encode())
        for patch in self.patches:
            state.update(patch.name.encode() + b"\0" + patch.read_bytes())
        return f"bochs-{VERSION}-{state.hexdigest()[:16]}"


def _build(cache: Cache, source: Path, recipe: _Recipe, final: Path, progress: Progress) -> None:
    require_space(cache.root, _BUILD_BYTES, "building the emulator")
    log = build_step.BuildLog(cache.folder("logs") / f"{final.name}.log", "the emulator")
    log.start()
    with cache.scratch() as work:
        progress.stage("emulator: unpack")
        with tarfile.open(source) as archive:
            # Python 3.11.2 (Debian 12) has no filters; the tarball's hash has been verified.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(work)  # noqa: S202
        (tree,) = (path for path in work.iterdir() if path.is_dir())
        progress.stage("emulator: apply patches")
        for patch in recipe.patches:
            build_step.run(["patch", "-p1", "--batch", "--forward", "-i", patch], tree, log)
        progress.stage("emulator: configure")
        build_step.run(recipe.configure, tree, log, _COMPILER)
        _make(tree, log, progress)
        result = work / "result"
        result.mkdir()
        (tree / "bochs").rename(result / "bochs")
        (tree / "COPYING").rename(result / "COPYING")
        seal(result)
        cache.publish(result, final)


def _make(tree: Path, log: build_step.BuildLog, progress: Progress) -> None:
    progress.stage("emulator: compile (a few minutes, only once)")
    compiled = 0

    def count(line: str) -> None:
        nonlocal compiled
        if " -c " in line and line.startswith(("g++", "gcc")):
            compiled += 1
            progress.advance(min(compiled, _COMPILED_FILES), _COMPILED_FILES)

    jobs = len(os.sched_getaffinity(0))
    build_step.run(["make", f"-j{jobs}", "bochs"], tree, log, on_line=count)
