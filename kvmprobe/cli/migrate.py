"""``kvmprobe migrate``: guests move between emulated hosts, and each move is compared."""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.files import write
from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.grammar.shared import Number, add_cold, add_jobs, add_sources
from kvmprobe.cli.moved import ORDER, order_named
from kvmprobe.cli.places import emulated_host, jobs_of
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.lab.kernel_sets import ALL, NEWEST_OF_EACH, specs_of
from kvmprobe.moves.planning import Host
from kvmprobe.moves.restoring import Into
from kvmprobe.reports.console import print_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from kvmprobe.execution.moving_hosts import MovingHosts
    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.progress import Progress
    from kvmprobe.scenarios.presets import Preset

_ORDERS = ("qemu-full", "qemu-cet", "firecracker", "firecracker-1.16.1", "crosvm", "kselftest")
_DEFAULT_CPU = "default"
_MOST_MOVES = _MOST_SEED = 2**32 - 1
_MEANING = """\
matrix of moves:
  A host is a kernel with a processor.  On each one a guest is saved for
  each order and each use of its state (`save --help` lists them), and
  restored on others in the same order, into a new vCPU or into a used one
  (`compat --help`).  Before that its fate is predicted from the facts
  about the two hosts alone, as `compat` does.
  Without --all, the moves are few and have each pair of values: of kernel
  and processor of the source, those of the target, order, and vCPU.
  What is not as it was before the move is, as `compat` has it, due to the
  order, the target, a defect of a kernel, or undetermined by the ABI.
  A move is not tried if there is no such kernel, if it has no KVM, or if
  the order has what a saved guest has not; the reason is printed.  The
  exit status is 0 if moves ran, and each that was tried went as predicted,
  whatever was lost; else 1: also if a host did not boot.
"""


def add_arguments(migrate: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    # Not needed to read a command line that has no --cpu.
    from kvmprobe.lab.cpu_profile import PROFILES  # noqa: PLC0415

    migrate.add_argument(
        "--kernels",
        action="append",
        required=True,
        metavar="SPEC[,SPEC...]",
        help="hosts with these kernels: each as for --kernel of other commands, "
        f"{NEWEST_OF_EACH} for the newest packaged kernel of each series, or {ALL} for every "
        "packaged version; several may be given",
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
    migrate.add_argument(
        "--into",
        action="append",
        choices=[into.value for into in Into],
        help="restore into new vCPUs, or into used ones; can be repeated (default: both)",
    )
    migrate.add_argument(
        "--all", action="store_true", help="make all moves, not one for each pair of values"
    )
    migrate.add_argument(
        "--walk",
        type=Number(int, 1, _MOST_MOVES, "moves"),
        metavar="N",
        help="instead of a matrix, move one guest N times, each to a random host in a random order",
    )
    migrate.add_argument(
        "--seed",
        type=Number(int, 0, _MOST_SEED, "a seed"),
        metavar="S",
        default=1,
        help="of the walk: the same hosts, orders and seed give the same walk (default: "
        "%(default)s)",
    )
    migrate.add_argument("--json", type=Path, metavar="FILE", help="write the cells to FILE")
    migrate.add_argument(
        "--html", type=Path, metavar="FILE", help="write the matrix to FILE as one HTML page"
    )
    add_sources(migrate)
    add_jobs(migrate, "the processors that this process may use")
    add_cold(migrate)
    end_with(migrate, _MEANING)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Move guests between hosts.

    :raises UsageError: an order is not known, options exclude each other, or a file cannot be
        written
    :raises LabError: the emulator is not available
    """
    orders = [order_named(text) for text in dict.fromkeys(arguments.order or _ORDERS)]
    if arguments.walk is None:
        return _matrix(arguments, orders, console)
    for option in ("all", "into", "html", "json"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} is for a matrix, which --walk excludes")
    return _walk(arguments, orders, console)


def _matrix(arguments: argparse.Namespace, orders: Sequence[Preset], console: Console) -> ExitCode:
    # They import what the model does with guest code.
    from kvmprobe.execution.move_matrix import MoveMatrix  # noqa: PLC0415
    from kvmprobe.moves.cells import all_is_well  # noqa: PLC0415
    from kvmprobe.moves.planning import every_move, pairwise  # noqa: PLC0415
    from kvmprobe.reports.move_matrix import matrix_json, matrix_lines  # noqa: PLC0415
    from kvmprobe.reports.move_matrix_page import matrix_page  # noqa: PLC0415

    names = [order.name for order in orders]
    intos = [Into(word) for word in dict.fromkeys(arguments.into or Into)]
    plan = every_move if arguments.all else pairwise
    with progress() as status, _hosts(arguments, status) as hosts:
        planned = plan(*_kernels_and_cpus(arguments, status), names, intos)
        matrix = MoveMatrix(hosts, {order.name: order for order in orders}, planned)
        cells = matrix.run(jobs_of(arguments), status)
    if arguments.json is not None:
        write("--json", arguments.json, f"{json.dumps(matrix_json(cells, names), indent=1)}\n")
    if arguments.html is not None:
        write("--html", arguments.html, matrix_page(cells, names))
    print_lines(console, list(matrix_lines(cells, names, console.width)))
    return ExitCode.OK if all_is_well(cells) else ExitCode.DIVERGED


def _walk(arguments: argparse.Namespace, orders: Sequence[Preset], console: Console) -> ExitCode:
    from kvmprobe.execution.walking import Walker  # noqa: PLC0415
    from kvmprobe.reports.walk import walk_lines  # noqa: PLC0415

    with progress() as status, _hosts(arguments, status) as hosts:
        kernels, cpus = _kernels_and_cpus(arguments, status)
        planned = tuple(Host(*one) for one in product(kernels, cpus))
        hosts.boot(planned, jobs_of(arguments), lambda *_: None)
        for host, reason in (hosts.refused | hosts.failed).items():
            raise UsageError(f"--walk: {hosts.name(host)}: {reason}")
        status.stage(f"walk through {len(planned)} hosts")
        walker = Walker([hosts.opened(host) for host in planned], orders, arguments.seed)
        walk = walker.walk(arguments.walk, status)
    print_lines(console, list(walk_lines(walk, arguments.seed)))
    return ExitCode.DIVERGED if walk.failure else ExitCode.OK


def _hosts(arguments: argparse.Namespace, status: Progress) -> MovingHosts:
    from kvmprobe.execution.moving_hosts import MovingHosts  # noqa: PLC0415

    def opened(host: Host, status: Progress) -> EmulatedHost:
        chosen = {"kernel": host.kernel, "cpu": host.cpu or None}
        others = {"modules": None, "append": (), "cpus": 1, "jobs": 1}
        return emulated_host(argparse.Namespace(**{**vars(arguments), **others, **chosen}), status)

    return MovingHosts(opened, status)


def _kernels_and_cpus(
    arguments: argparse.Namespace, status: Progress
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kernels = specs_of(arguments.kernels, archives_of(arguments), status)
    cpus = dict.fromkeys(arguments.cpu or [_DEFAULT_CPU])
    return kernels, tuple("" if cpu == _DEFAULT_CPU else cpu for cpu in cpus)
