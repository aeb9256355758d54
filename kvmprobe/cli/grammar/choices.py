"""Options whose value is one of a few words."""

from __future__ import annotations

import argparse
from enum import StrEnum
from typing import Self


class _Choice(StrEnum):
    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a value, for argparse."""
        try:
            return cls(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(cls)})"
            ) from None


class Where(_Choice):
    """``--target``: where to run."""

    AUTO = "auto"
    HOST = "host"
    LAB = "lab"


class OfKnown(_Choice):
    """``--known``: how a failure that known defects explain counts."""

    FAIL = "fail"
    XFAIL = "xfail"
