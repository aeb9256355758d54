"""Kernel releases as numbers."""

from __future__ import annotations

import re

Release = tuple[int, ...]
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_SERIES_PARTS = 2


def release_of(text: str) -> Release:
    """Return (6, 12, 43) for ``6.12.43+deb12-cloud-amd64``; empty if it is not a release."""
    found = _RELEASE.match(text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def series_of(text: str) -> Release:
    """Return (6, 12) for ``6.12.43``: the stable series."""
    return release_of(text)[:_SERIES_PARTS]
