"""``kvmprobe explore --pairs``: the commutation atlas of a kernel, in a directory."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.errors import ExitCode, ScenarioError, Unavailable, UsageError
from kvmprobe.execution.judging import Judging
from kvmprobe.execution.settling import Hazardous
from kvmprobe.execution.trials import Trials
from kvmprobe.reports.atlas import atlas_lines, atlas_page
from kvmprobe.reports.console import print_lines
from kvmprobe.repro.program import program
from kvmprobe.results.durable import write_file
from kvmprobe.results.run_directory import runs_folder
from kvmprobe.scenarios.scenario import AMX
from kvmprobe.search.atlas import FILE, Atlas, Order
from kvmprobe.search.graph import Part
from kvmprobe.search.pairs import calls, graph, reads, starts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from kvmprobe.explore.atlas import Pairs
    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.scenarios.ops import Op

PAGE = "atlas.html"
_CELLS = "cells"


def make_atlas(
    arguments: argparse.Namespace,
    wanted: Callable[[Sequence[Op]], Sequence[Op]],
    place: EmulatedHost,
    console: Console,
    status: Progress,
) -> ExitCode:
    """Make both orders of each pair in each start; write the atlas; print it.

    :param wanted: returns those of some calls that the user wants
    :raises UsageError: the directory cannot be written, or no call is wanted
    """
    trials = Trials(place, Hazardous.EVERY, status)
    if lacking := trials.lacking(AMX):
        raise Unavailable("unmet_need", f"--pairs: {'; '.join(lacking)}")
    host = trials.host
    every, begun = calls(host), starts(host)
    chosen = wanted(list(every.values()))
    made = {name: op for name, op in every.items() if op in chosen}
    directory = _directory(arguments)
    try:
        atlas, pairs = _made(place, host, made, begun, status)
    except BaseException:
        # An atlas without all starts would be taken for a whole one.
        with contextlib.suppress(OSError):
            (directory / _CELLS).rmdir()
            directory.rmdir()
        raise
    print_lines(console, atlas_lines(atlas))
    _write(directory, atlas, pairs, host)
    print_lines(console, [f"recorded in {directory}"])
    return ExitCode.OK


def _made(
    place: EmulatedHost,
    host: HostProfile,
    made: Mapping[str, Op],
    begun: Mapping[str, Sequence[Op]],
    status: Progress,
) -> tuple[Atlas, Pairs]:
    # The emulator is only needed here.
    from kvmprobe.explore.atlas import Pairs  # noqa: PLC0415
    from kvmprobe.explore.visits import Explorer  # noqa: PLC0415

    began = time.monotonic()
    pairs = Pairs(made, Judging(host, place.target))
    for name, start in begun.items():
        status.stage(f"{place.target.description}: pairs in {name}")
        behind = graph(host, start, list(made.values()))
        explorer = Explorer(place, host, behind, Part(), reads(name))
        with contextlib.closing(explorer.visits()) as visits:
            pairs.watch(name, reads(name), visits)
    atlas = Atlas(
        place.target.kernel,
        {name: op.text for name, op in made.items()},
        {name: [op.text for op in start] for name, start in begun.items()},
        tuple(pairs.cells.values()),
        round(time.monotonic() - began, 1),
    )
    return atlas, pairs


def _directory(arguments: argparse.Namespace) -> Path:
    default = runs_folder() / f"atlas-{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}"
    directory: Path = arguments.out or default
    try:
        (directory / _CELLS).mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"--out {directory}: {error.strerror}") from error
    return directory


def _write(directory: Path, atlas: Atlas, pairs: Pairs, host: HostProfile) -> None:
    try:
        write_file(directory / FILE, atlas.to_json())
        write_file(directory / PAGE, atlas_page(atlas))
        for pair, scenarios in pairs.scenarios.items():
            if pairs.cells[pair].order is Order.COMMUTES:
                continue
            for number, scenario in enumerate(scenarios, 1):
                with contextlib.suppress(ScenarioError):
                    name = f"{'.'.join(pair)}.{number}"
                    text = program(replace(scenario, id=f"pair.{name}"), host)
                    (directory / _CELLS / f"{name}.c").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
