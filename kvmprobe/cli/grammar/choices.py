"""What can be chosen from, where a choice decides what a command does."""

from __future__ import annotations

import argparse
from enum import StrEnum
from typing import Self


class _Choice(StrEnum):
    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one, for argparse."""
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
    """``--known``: what a failure that known defects explain is."""

    FAIL = "fail"
    XFAIL = "xfail"
