"""Which lines of a crash's console matter: they stand out, the rest can be folded away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.results.record import Crash

_LANDMARKS = re.compile(
    r"WARNING: |BUG: |kernel BUG at |Oops: |general protection fault|double fault:"
    r"|Kernel panic - not syncing|Call [Tt]race:"
)


def telling_lines(crash: Crash, lines: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the lines that say what died, where, and called by whom.

    These are the headline, the beginnings of reports and call traces, and the lines that name the
    function or a frame of the crash; frames that the kernel marks as unreliable are not among them.
    """
    frames = _naming((crash.function, *crash.frames))
    return tuple(
        number
        for number, line in enumerate(lines)
        if (crash.headline and crash.headline in line)
        or _LANDMARKS.search(line)
        or (frames and frames.search(line))
    )


def _naming(functions: Sequence[str]) -> re.Pattern[str] | None:
    named = "|".join(re.escape(name) for name in functions if name)
    return re.compile(rf"(?<!\? )(?<![\w.])(?:{named})\+0x") if named else None
