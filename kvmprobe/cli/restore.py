"""``kvmprobe restore``: a saved guest goes on, and checks itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.moved import ORDER, add_place, divergence_lines, order_named
from kvmprobe.cli.places import place_of
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, ScenarioError, UsageError
from kvmprobe.execution.one_scenario import run_one
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.vmm_sentences import pieces_text

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.model.host import HostProfile
    from kvmprobe.moves.saved_guest import SavedGuest
    from kvmprobe.scenarios.scenario import Scenario

_MEANING = """\
restored guests:
  The guest of a file that `save` wrote is restored in an order, in a VM
  whose memory is the payload's.  It reads every register and component
  that it had, and each is compared with what the model says it finds.
  What would fail or take the host down is refused before anything runs.
  The exit status is 1 if something is refused or lost, or if the kernel
  did what the model does not expect of it.
"""


def add_arguments(restore: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    restore.add_argument("file", type=Path, metavar="FILE", help="a guest that `save` has written")
    restore.add_argument(
        "--order",
        default="qemu-full",
        metavar=ORDER,
        help="restore in this built-in order, or in that of a file (default: %(default)s)",
    )
    add_place(restore)
    end_with(restore, _MEANING)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Restore a guest.

    :raises UsageError: the file is no saved guest, or the order restores what it lacks
    :raises Unavailable: KVM cannot be used, or cannot execute the guest
    :raises NotTaken: the target does not take the guest
    """
    # They import what the model does with guest code.
    from kvmprobe.moves.resuming import resuming  # noqa: PLC0415

    guest, order = _read(arguments.file), order_named(arguments.order)

    def scenario_for(host: HostProfile) -> Scenario:
        return resuming(guest, order, host).scenario

    with progress() as status, place_of(arguments, status) as place:
        ran = run_one(place, scenario_for)
        target = place.target
    had = f"{len(guest.had)} pieces of its state, of {guest.source.description}, {guest.order}"
    if not ran.agrees:
        lines = [f"the kernel of {target.description} did what the model does not expect of it"]
        print_lines(console, [*lines, *divergence_lines(ran)])
        return ExitCode.DIVERGED
    if gone := resuming(guest, order, ran.host).lost:
        print_lines(console, [f"lost on {target.description}, {order.name}: {pieces_text(gone)}"])
        return ExitCode.DIVERGED
    lines = [f"goes on on {target.description}, {order.name}: the guest found all {had}"]
    print_lines(console, lines)
    return ExitCode.OK


def _read(path: Path) -> SavedGuest:
    from kvmprobe.moves.saved_guest import from_bytes  # noqa: PLC0415
    from kvmprobe.scenarios.strict_json import content_of  # noqa: PLC0415

    try:
        return from_bytes(content_of(path))
    except ScenarioError as error:
        raise UsageError(f"{path}: {error}") from error
