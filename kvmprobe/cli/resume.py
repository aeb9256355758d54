"""``kvmprobe resume``: go on with a run that was interrupted, or that took this host down."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kvmprobe import __version__
from kvmprobe.cli.attempt import next_attempt
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.run import carry_out
from kvmprobe.cli.select import all_ids
from kvmprobe.cli.terminal import tell
from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.errors import ExitCode


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run what has no record, as the run was begun.

    :raises UsageError: there is no such run, or it was another kernel's
    """
    argv, attempt = next_attempt(arguments.run, arguments.retries)
    try:
        begun = parser().parse_args(argv)
    except SystemExit as refused:
        raise UsageError(
            f"{attempt.path}: begun by {attempt.begin['tool']} with arguments that "
            f"kvmprobe {__version__} does not take: {shlex.join(argv)}"
        ) from refused
    begun.timeout = arguments.timeout or begun.timeout
    if gone := set(attempt.planned) - set(all_ids()):
        tell(
            f"kvmprobe: {len(gone)} scenarios that {attempt.begin['tool']} planned are not in this "
            f"one's catalogue, so they stay without a record: {', '.join(sorted(gone))}"
        )
    return carry_out(begun, attempt, console)
