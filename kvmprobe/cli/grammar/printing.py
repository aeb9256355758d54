"""``--print`` and ``--no-print``, which apply in the order of the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.reports.printing import NAMES, Printing, Switch

if TYPE_CHECKING:
    from argparse import _ActionsContainer
    from collections.abc import Sequence

_HELP = {
    Switch.ON: f"print scenarios with these verdicts during the run: {', '.join(NAMES)}; by "
    "default failures, and one line for each known defect",
    Switch.OFF: "only count scenarios with these verdicts; the last switch wins",
}


class _Switched(argparse.Action):
    """Switches verdicts of the namespace's ``printing`` on or off."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        _option: str | None = None,
    ) -> None:
        """Apply one switch."""
        switch = Switch(self.option_strings[0])
        try:
            namespace.printing = namespace.printing.switched(switch, str(values).split(","))
        except UsageError as error:
            raise argparse.ArgumentError(self, str(error)) from error


def add_printing(command: _ActionsContainer) -> None:
    """Declare the switches."""
    for switch, text in _HELP.items():
        command.add_argument(
            switch.value,
            action=_Switched,
            dest="printing",
            default=Printing(),
            metavar="VERDICT[,VERDICT...]",
            help=text,
        )
