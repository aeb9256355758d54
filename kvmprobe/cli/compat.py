"""``kvmprobe compat``: whether a guest that is saved on one host goes on on another."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.files import write
from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.moved import ORDER, order_named
from kvmprobe.errors import ExitCode
from kvmprobe.execution.probe_document import read_probe
from kvmprobe.moves.compatibility import compatibility
from kvmprobe.moves.restoring import Into
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.moves import compatibility_json, compatibility_lines
from kvmprobe.scenarios.attached.template import template_text
from kvmprobe.scenarios.presets import presets

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

_MEANING = """\
moving guests:
  Nothing runs, and neither KVM nor root is needed: the model says what
  the source's KVM returns to a VMM that saves a guest, and what the
  target's KVM makes of it.  The VMM has asked for guest permission, saves
  the MSRs of its list that KVM lists, and leaves out those of value 0 that
  the target does not list.  The guest has a value in every component that
  its CPUID offers.  Each way in which it can use them is moved:
    tiles      XFD is 0 (no-tiles: without AMX)
    xfd-armed  XFD is armed
    in-nm      the same, in its handler of #NM, with IA32_XFD_ERR
    cet        with shadow stacks or IBT, and tiles; only for orders whose
               `states` have it, for nothing is known of the others
  What is found has one of four causes:
    order      the order loses it on the source as well
    target     processor or KVM of the target differ
    defect     a known defect of one of the kernels
    abi        undetermined by the ABI: the order loses it on some kernels,
               and no document says which of them are right
  The guest's CPUID is all that the source supports, and then what both
  hosts support, if that is less.  --template writes the latter as changes
  of what KVM supports, as Firecracker's CPU templates have them, and as
  `kvmprobe convert` reads them.
  The exit status is 1 if the guest with all that the source supports
  loses something in an order that --order names; without --order, if it
  does so in every order.
"""


def add_arguments(compat: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    for name, whose in (("source", "the host that saves"), ("target", "the one that goes on")):
        compat.add_argument(
            name, type=Path, metavar=f"{name.upper()}.json", help=f"`probe --json` of {whose}"
        )
    compat.add_argument(
        "--order",
        action="append",
        default=[],
        metavar=ORDER,
        help="restore in this built-in order, or in that of a file, as `run --order` takes it; "
        "can be repeated (default: all built-in orders)",
    )
    compat.add_argument(
        "--into",
        choices=[into.value for into in Into],
        default=Into.NEW.value,
        help="restore into a new vCPU, or into a used one without a reset: another guest has run "
        "in it, with XFD armed if this one has tiles, and with tiles if this one has XFD armed",
    )
    compat.add_argument("--json", action="store_true", help="print a JSON document")
    compat.add_argument(
        "--template", type=Path, metavar="FILE", help="write the largest common CPUID as a template"
    )
    end_with(compat, _MEANING)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Compare two hosts.

    :raises UsageError: a document or an order cannot be read, or the template cannot be written
    """
    source, target = read_probe(arguments.source), read_probe(arguments.target)
    orders = [order_named(text) for text in dict.fromkeys(arguments.order)] or presets()
    result = compatibility(source.profile, target.profile, orders, Into(arguments.into))
    if arguments.template is not None:
        write("--template", arguments.template, template_text(result.shared.changes))
    if arguments.json:
        document = compatibility_json(result, source, target)
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        print_lines(console, list(compatibility_lines(result, source, target)))
    goes_on = result.goes_on_in_each if arguments.order else result.goes_on_in_some
    return ExitCode.OK if goes_on else ExitCode.DIVERGED
