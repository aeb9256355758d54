"""The relevant lines in the console log of a crash; the page folds the others."""

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
    """Return the numbers of the lines that have the fault, its place and its callers.

    These are the headline, the first lines of reports and call traces, and the lines with the
    function or a frame of the crash, without the frames that the kernel marks as unreliable.
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
