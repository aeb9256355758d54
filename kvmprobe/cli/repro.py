"""``kvmprobe repro``: a scenario as a C program, verified where it must reproduce or must not."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.files import write
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.grammar.shared import add_device, add_sources, add_variant
from kvmprobe.cli.places import variant_of
from kvmprobe.cli.scenario import SCENARIO_HELP, named
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, Unavailable, UsageError
from kvmprobe.execution.driver import Driver
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.preflight import unmet
from kvmprobe.execution.probing import examine
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.reports.console import print_lines
from kvmprobe.repro.build import compile_program
from kvmprobe.repro.ended import GO_ON, Ended, Result
from kvmprobe.repro.other_hosts import Profile
from kvmprobe.repro.program import file_name, program

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.execution.preflight import Preflight
    from kvmprobe.progress import Progress
    from kvmprobe.scenarios.scenario import Scenario

_STANDARD_OUTPUT = Path("-")
_HOST_SECONDS = 60.0
_NEWEST = ""


def add_arguments(repro: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    repro.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    repro.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="output file, - for standard output (default: named after the scenario)",
    )
    repro.add_argument(
        "--target",
        choices=[Where.HOST.value, Where.LAB.value],
        default=Where.LAB,
        help="write it for the CPU and KVM of this host or of the emulated host, a Sapphire Rapids "
        "(default: %(default)s)",
    )
    repro.add_argument(
        "--verify",
        action="store_true",
        help="compile it and run it there; the exit status is 1 unless it reproduces",
    )
    repro.add_argument(
        "--kernel",
        action="append",
        default=[],
        metavar="SPEC",
        help="verify it on the emulated host with that kernel, as for `run --kernel`; several may "
        "be given",
    )
    repro.add_argument(
        "--not-on",
        action="append",
        default=[],
        metavar="SPEC",
        help="verify that it does not reproduce with that kernel; several may be given",
    )
    repro.add_argument(
        "--hazardous",
        action="store_true",
        help="run it past a load that can PANIC its host",
    )
    add_device(repro)
    add_variant(repro)
    add_sources(repro)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Write the program and, if requested, verify it.

    :raises UsageError: there is no such scenario, or the arguments contradict each other
    """
    _check(arguments)
    preflight = _examined(arguments.device) if arguments.target == Where.HOST else None
    host = preflight.profile if preflight else sapphire_rapids()
    scenario = named(arguments.scenario, host)
    text = program(scenario, host, Profile.EXAMINED if preflight else Profile.ASSUMED)
    if arguments.output == _STANDARD_OUTPUT:
        sys.stdout.write(text)
        return ExitCode.OK
    path = arguments.output or Path(file_name(scenario))
    write("--output", path, text)
    print_lines(console, [f"{scenario.id}: {path}"])
    if not _wants_verification(arguments):
        return ExitCode.OK
    return _verify(arguments, console, path, preflight, scenario)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.target == Where.HOST and (arguments.kernel or arguments.not_on):
        raise UsageError("--kernel and --not-on use the emulated host and exclude --target host")
    options = variant_of(arguments).options
    if options and not (arguments.target == Where.LAB and _wants_verification(arguments)):
        raise UsageError(f"{options}: only to verify on the emulated host; the program is the same")
    if arguments.output == _STANDARD_OUTPUT and _wants_verification(arguments):
        raise UsageError("--verify needs a file, not --output -")


def _wants_verification(arguments: argparse.Namespace) -> bool:
    return bool(arguments.verify or arguments.kernel or arguments.not_on)


def _examined(device: str) -> Preflight:
    place = ThisHost(device)
    with place.open() as link:
        return examine(Driver(link, place.timing))


def _verify(
    arguments: argparse.Namespace,
    console: Console,
    source: Path,
    preflight: Preflight | None,
    scenario: Scenario,
) -> ExitCode:
    """Run the program on each kernel; return the worst status."""
    with tempfile.TemporaryDirectory(prefix="kvmprobe-repro-") as folder:
        executable = Path(folder) / "repro"
        compile_program(source, executable)
        words = (str(executable), *([GO_ON] if arguments.hazardous else []))
        if preflight is not None:
            _check_needs(scenario, preflight)
            return _judge(console, "this host", _run_here(words), wanted=True)
        must = arguments.kernel or ([] if arguments.not_on else [_NEWEST])
        runs = [(spec, True) for spec in must] + [(spec, False) for spec in arguments.not_on]
        statuses = []
        for spec, wanted in runs:
            with progress() as status:
                label, ended = _run_emulated(arguments, spec, words, status)
            statuses.append(_judge(console, label, ended, wanted=wanted))
    return ExitCode(max(statuses))


def _check_needs(scenario: Scenario, preflight: Preflight) -> None:
    for need, (code, reason) in unmet(preflight).items():
        if need in scenario.needs:
            raise Unavailable(code, f"{scenario.id} cannot run on this host: {reason}")


def _judge(console: Console, label: str, ended: Ended, *, wanted: bool) -> ExitCode:
    lines = [f"{label}: {ended.result.value}", f"  {ended.last_line}"]
    if ended.result is Result.CANNOT_RUN:
        print_lines(console, lines)
        return ExitCode.NOTHING_RAN
    if ended.result.reproduced is not wanted:
        lines.append(f"  expected: {'reproduced' if wanted else 'not reproduced'}")
    print_lines(console, lines)
    return ExitCode.OK if ended.result.reproduced is wanted else ExitCode.DIVERGED


def _run_here(words: tuple[str, ...]) -> Ended:
    try:
        ended = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=_HOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Ended(Result.CANNOT_RUN, f"it did not end within {_HOST_SECONDS:g} s")
    return Ended.of(ended.returncode, ended.stdout)


def _run_emulated(
    arguments: argparse.Namespace, spec: str, words: tuple[str, ...], status: Progress
) -> tuple[str, Ended]:
    # Loaded only where an emulated host is wanted.
    from kvmprobe.cli.archives import archives_of, emulator_of  # noqa: PLC0415
    from kvmprobe.lab import kernels  # noqa: PLC0415
    from kvmprobe.lab.program import (  # noqa: PLC0415
        PANIC_STATUS,
        Hardware,
        Program,
        Sinks,
        run_program,
    )

    archives = archives_of(arguments)
    kernel = kernels.resolve(spec or None, modules_dir=None, archives=archives, progress=status)
    built = emulator_of(arguments, archives, status)
    said, errors = io.BytesIO(), io.BytesIO()
    variant = variant_of(arguments)
    program = Program(words, hardware=Hardware(variant=variant))
    code = run_program(kernel, built, program, Sinks(said, errors), status)
    label = f"{kernel.label} {variant.options}".rstrip()
    output = said.getvalue().decode(errors="replace")
    if code == PANIC_STATUS:
        headline, *_ = errors.getvalue().decode(errors="replace").splitlines() or [""]
        return label, Ended(Result.PANICKED, headline)
    return label, Ended.of(code, output)
