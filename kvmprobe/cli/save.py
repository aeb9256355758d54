"""``kvmprobe save``: a guest fills its state, and is saved to a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.files import write
from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.moved import ORDER, add_place, divergence_lines, order_named
from kvmprobe.cli.places import place_of
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.execution.one_scenario import run_one
from kvmprobe.moves.guests import Use
from kvmprobe.reports.console import print_lines
from kvmprobe.scenarios.calls import VCPU

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

_MEANING = """\
saved guests:
  The guest is kvmprobe's payload.  It puts a value in every component that
  KVM gives it, and --use says what else it does:
    no-tiles   AMX is not in its CPUID
    tiles      XFD is 0
    xfd-armed  XFD is armed
    in-nm      the same, in its handler of #NM, with IA32_XFD_ERR
    cet        shadow stacks and CET state, and tiles where there are any
  Its VMM then reads what the order restores, and of MSRs those of its list
  that KVM lists.  The file has what KVM returned, and what the guest had;
  moves/FORMAT.md describes it.  `restore` goes on with it in another
  process, on another kernel or processor, in another order.
  The exit status is 1, and no file is written, if the kernel did what the
  model does not expect of it.
"""


def add_arguments(save: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    save.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the guest there")
    save.add_argument(
        "--order",
        default="qemu-full",
        metavar=ORDER,
        help="save what this built-in order restores, or that of a file (default: %(default)s)",
    )
    save.add_argument(
        "--use",
        choices=[use.value for use in Use],
        default=Use.NO_TILES.value,
        help="what the guest does with its state (default: %(default)s)",
    )
    save.add_argument("--schema", action="store_true", help="print the JSON Schema of the file")
    add_place(save)
    end_with(save, _MEANING)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Save a guest.

    :raises UsageError: the arguments contradict each other, or the file cannot be written
    :raises Unavailable: KVM cannot be used, or the host lacks what the guest uses
    """
    # They import what the model does with guest code.
    from kvmprobe.moves.saved_guest import guest_schema, to_text  # noqa: PLC0415
    from kvmprobe.moves.saving import saved, saving  # noqa: PLC0415

    if arguments.schema:
        sys.stdout.write(json.dumps(guest_schema(), indent=1) + "\n")
        return ExitCode.OK
    if arguments.output is None:
        raise UsageError("--output FILE is missing: where to write the guest")
    order, use = order_named(arguments.order), Use(arguments.use)
    with progress() as status, place_of(arguments, status) as place:
        ran = run_one(place, lambda host: saving(host, order, use))
        target = place.target
    if not ran.agrees:
        lines = ["not saved: the kernel did what the model does not expect of it"]
        print_lines(console, [*lines, *divergence_lines(ran)])
        return ExitCode.DIVERGED
    guest = saved(
        ran.host,
        ran.scenario,
        ran.trace,
        ran.machine.vcpu(VCPU),
        target=target,
        processor=ran.brand,
    )
    write("--output", arguments.output, to_text(guest))
    print_lines(console, [f"saved a guest ({use}) of {target.description} in order {order.name}"])
    return ExitCode.OK
