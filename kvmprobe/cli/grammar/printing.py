"""``--print`` and ``--no-print``: in the order in which they are given."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.reports.printing import NAMES, Printing, Switch

if TYPE_CHECKING:
    from argparse import _ActionsContainer
    from collections.abc import Sequence

Switched = tuple[Switch, tuple[str, ...]]


def add_printing(command: _ActionsContainer) -> None:
    """Take the switches; they all end in ``printing``."""
    helps = {
        Switch.ON: f"print scenarios with these verdicts as they come: {', '.join(NAMES)}; "
        "without it what failed, of known defects one line a kind",
        Switch.OFF: "do not print those: they are only counted; the last switch holds",
    }
    for switch, text in helps.items():
        command.add_argument(
            switch.value,
            action="append",
            dest="printing",
            default=[],
            type=partial(_switched, switch),
            metavar="VERDICT[,VERDICT...]",
            help=text,
        )


def printing_of(switches: Sequence[Switched]) -> Printing:
    """Return what the switches leave to be printed."""
    printing = Printing()
    for switch, names in switches:
        printing = printing.switched(switch, names)
    return printing


def _switched(switch: Switch, text: str) -> Switched:
    """Read names, for argparse."""
    names = tuple(text.split(","))
    try:
        Printing().switched(switch, names)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return switch, names
