"""``kvmprobe migrate``: guests move between emulated hosts, and each move is compared."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.files import write
from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.grammar.shared import add_cold, add_sources
from kvmprobe.cli.moved import ORDER, order_named
from kvmprobe.cli.places import emulated_host
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode
from kvmprobe.reports.console import print_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.moves.cells import Cell, MovedGuest
    from kvmprobe.progress import Progress

_ORDERS = ("qemu-full", "qemu-cet", "firecracker", "firecracker-1.16.1", "crosvm", "kselftest")
_DEFAULT_CPU = "default"
_MEANING = """\
matrix of moves:
  On each host a guest is saved for each order and each use of its state
  (`save --help` lists them), and restored on each host in the same order.
  Before that its fate is predicted from the facts about the two hosts
  alone, as `compat` does.  The exit status is 0 if each planned move ran
  and went as predicted, whatever was lost; else 1.
"""


def add_arguments(migrate: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    # Not needed to read a command line that has no --cpu.
    from kvmprobe.lab.cpu_profile import PROFILES  # noqa: PLC0415

    migrate.add_argument(
        "--kernel",
        action="append",
        required=True,
        metavar="SPEC",
        help="hosts with this kernel, as `run --kernel` takes it; can be repeated",
    )
    migrate.add_argument(
        "--cpu",
        action="append",
        choices=[_DEFAULT_CPU, *PROFILES],
        help="hosts with this processor; can be repeated (default: a Sapphire Rapids alone, "
        f"which is {_DEFAULT_CPU!r})",
    )
    migrate.add_argument(
        "--order",
        action="append",
        metavar=ORDER,
        help="move in this built-in order, or that of a file; can be repeated (default: "
        f"{', '.join(_ORDERS)})",
    )
    migrate.add_argument("--json", type=Path, metavar="FILE", help="write the cells to FILE")
    migrate.add_argument(
        "--html", type=Path, metavar="FILE", help="write the matrix to FILE as one HTML page"
    )
    add_sources(migrate)
    add_cold(migrate)
    end_with(migrate, _MEANING)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Move guests between all hosts.

    :raises UsageError: an order is not known, or the file cannot be written
    :raises LabError: an emulated host is not available
    """
    # They import what the model does with guest code.
    from kvmprobe.execution.migrating import restore_all, save_all  # noqa: PLC0415
    from kvmprobe.moves.cells import Cell  # noqa: PLC0415
    from kvmprobe.reports.move_matrix import matrix_json, matrix_lines  # noqa: PLC0415
    from kvmprobe.reports.move_matrix_page import matrix_page  # noqa: PLC0415

    orders = [order_named(text) for text in dict.fromkeys(arguments.order or _ORDERS)]
    guests: list[MovedGuest] = []
    cells: list[Cell] = []
    with progress() as status:
        unsaved: list[Cell] = []
        for host in _hosts(arguments, status):
            with host:
                found, why = save_all(host, orders)
            guests += found
            name = host.target.release
            unsaved += [Cell(name, "", order, use, text) for (order, use), text in why.items()]
        # A host that was closed cannot be opened again.
        for host in _hosts(arguments, status):
            with host:
                cells += restore_all(host, guests)
            cells += [replace(cell, target=host.target.release) for cell in unsaved]
    names_of_orders = [order.name for order in orders]
    if arguments.json is not None:
        document = json.dumps(matrix_json(cells, names_of_orders), indent=1)
        write("--json", arguments.json, f"{document}\n")
    if arguments.html is not None:
        write("--html", arguments.html, matrix_page(cells, names_of_orders))
    print_lines(console, list(matrix_lines(cells, names_of_orders)))
    return ExitCode.OK if all(cell.is_as_predicted for cell in cells) else ExitCode.DIVERGED


def _hosts(arguments: argparse.Namespace, status: Progress) -> Iterator[EmulatedHost]:
    cpus = dict.fromkeys(arguments.cpu or [_DEFAULT_CPU])
    for kernel, cpu in product(dict.fromkeys(arguments.kernel), cpus):
        chosen = {"kernel": kernel, "cpu": None if cpu == _DEFAULT_CPU else cpu}
        others = {"modules": None, "append": (), "cpus": 1, "jobs": 1}
        yield emulated_host(argparse.Namespace(**{**vars(arguments), **others, **chosen}), status)
