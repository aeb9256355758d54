"""Ready-made C definitions, of which a program contains those that it uses.

They come from ``c/``, from ``kvmprobe/native/shared/``, which is also part of the executor, and
from the constants of :mod:`kvmprobe.repro.constants`.

A file consists of chunks, separated by two empty lines.  A chunk has a few definitions, and
``#include`` lines for the headers that only they need; these lines move to the top of the program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from kvmprobe.repro.constants import definitions

_OWN = files("kvmprobe.repro") / "c"
_SHARED = files("kvmprobe.native") / "shared"
_FILES = (
    _SHARED / "fallbacks.h",
    _OWN / "constants.c",
    _OWN / "report.c",
    _SHARED / "bytes.h",
    _OWN / "bytes.c",
    _OWN / "content.c",
    _OWN / "cpuid.c",
    _SHARED / "process.h",
    _SHARED / "run.h",
    _OWN / "memory.c",
    _OWN / "here.c",
    _OWN / "load.c",
    _SHARED / "sleeping.h",
    _OWN / "payload.c",
    _SHARED / "payload.h",
    _SHARED / "during_run.h",
    _OWN / "guest_trial.c",
    _OWN / "serve.c",
    _SHARED / "tasks.h",
    _OWN / "tasks.c",
)
ALWAYS = (
    "errno.h",
    "linux/kvm.h",
    "stdint.h",
    "stdio.h",
    "stdlib.h",
    "string.h",
    "sys/ioctl.h",
    "sys/syscall.h",
    "unistd.h",
)
_INCLUDE = re.compile(r"^#include <(.+)>$")
_WORD = re.compile(r"[A-Za-z_]\w*")
_CALLED = re.compile(r"\b([A-Za-z_]\w*)\(")
# Keywords of C and of GNU C, and names that the compiler or the standard headers define as macros.
_KEYWORDS = """
asm auto break case char const continue default do double else enum errno extern float for goto if
inline int linux long main register restrict return short signed sizeof static stdin stdout struct
switch typedef typeof union unix unsigned void volatile while
"""
_COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', re.DOTALL)
_DEFINES = (
    re.compile(r"^#define (\w+)", re.MULTILINE),
    re.compile(r"^(?:__attribute__.*\) )?static [\w\s*]*?\b(\w+)\(", re.MULTILINE),
    re.compile(r"^static [\w\s*,]*?\b(\w+)(?:\[\w+\])?(?: = [^;]*)?;", re.MULTILINE),
    re.compile(r"^struct (\w+) \{", re.MULTILINE),
)
_ENUMERATORS = re.compile(r"^enum \{(.*?)\};", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some definitions, the headers they need, and the names they define and use."""

    text: str
    headers: tuple[str, ...]
    defines: frozenset[str]
    uses: frozenset[str]

    @property
    def is_constant(self) -> bool:
        """True if it has only preprocessor lines."""
        bare = _COMMENT_OR_STRING.sub(" ", self.text).split("\n")
        return all(not line.strip() or line.startswith("#") for line in bare)


def words(text: str) -> frozenset[str]:
    """Return the identifiers in C text, without those in comments and strings."""
    return frozenset(_WORD.findall(_COMMENT_OR_STRING.sub(" ", text)))


@cache
def reserved() -> frozenset[str]:
    """Return the names that a program must not define itself."""
    defined = {name for chunk in all_chunks() for name in chunk.defines}
    called = {name for chunk in all_chunks() for name in _CALLED.findall(chunk.text)}
    return frozenset({*defined, *called, *_KEYWORDS.split()})


def needed(text: str) -> tuple[Chunk, ...]:
    """Return the chunks that C text uses, in an order in which they compile."""
    wanted = set(words(text))
    chosen: set[Chunk] = set()
    while more := {c for c in all_chunks() if c not in chosen and c.defines & wanted}:
        chosen |= more
        wanted.update(*(c.uses for c in more))
    return tuple(c for c in all_chunks() if c in chosen)


@cache
def all_chunks() -> tuple[Chunk, ...]:
    """Return all ready-made chunks, in order."""
    texts = [
        text.strip("\n")
        for file in _FILES
        for text in file.read_text(encoding="utf-8").split("\n\n\n")
    ]
    return tuple(map(_chunk, [*definitions(), *texts]))


def _chunk(text: str) -> Chunk:
    lines = text.splitlines()
    headers = [found[1] for line in lines if (found := _INCLUDE.match(line))]
    body = "\n".join(line for line in lines if not _INCLUDE.match(line))
    bare = _COMMENT_OR_STRING.sub(" ", body)
    defines = {name for pattern in _DEFINES for name in pattern.findall(bare)}
    for enumerators in _ENUMERATORS.findall(bare):
        defines |= {item.split("=")[0].strip() for item in enumerators.split(",")} - {""}
    return Chunk(body, tuple(headers), frozenset(defines), words(body))
