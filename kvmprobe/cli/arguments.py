"""The command line's grammar."""

from __future__ import annotations

import argparse
from pathlib import Path

from kvmprobe import __version__
from kvmprobe.cli.common_arguments import add_device, add_kernel, add_sources
from kvmprobe.cli.exit_style import OPTION, ExitStyle
from kvmprobe.cli.live_reports import ReportFile
from kvmprobe.cli.scenario import SCENARIO_HELP
from kvmprobe.cli.scenario_arguments import add_replay, add_repro
from kvmprobe.lab.boot_image import MEMORY_MIB, MOST_PROCESSORS
from kvmprobe.reports.formats import Format

_EXIT_CODES = """\
exit status:
  0 everything that ran passed      1 a divergence or a crash     2 usage
    (or, with --known=xfail, known defects explain what did not)
  3 kvmprobe's own fault            4 nothing could run           124 the run's time was up
  130 interrupted
  `lab exec` ends with the program's status, 255 if the emulated host panicked
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets ``command``."""
    top = argparse.ArgumentParser(
        prog="kvmprobe",
        description="Restore a KVM guest's XCR0, XFD and XSTATE in every order; judge each step.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"kvmprobe {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="run scenarios and judge the kernel"))
    _add_list(commands.add_parser("list", help="list the scenarios"))
    commands.add_parser("ops", help="list the ops: kernel call, errnos, sources")
    _add_explain(
        commands.add_parser("explain", help="show what the model expects of a scenario, and why")
    )
    add_repro(commands.add_parser("repro", help="write a scenario as a C program"))
    add_replay(commands.add_parser("replay", help="run a scenario from its JSON form"))
    _add_probe(commands.add_parser("probe", help="tell what this CPU, kernel and KVM offer"))
    _add_report(
        commands.add_parser("report", help="write runs in a format for programs, or as a page")
    )
    _add_diff(commands.add_parser("diff", help="tell what changed from one run to another"))
    _add_lab(commands.add_parser("lab", help="the emulated AMX host"))
    return top


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--target",
        choices=("auto", "host", "lab"),
        default="auto",
        help="this host, the emulated host, or what fits: the host, and the emulated one for what "
        "the host's KVM cannot do (default: %(default)s)",
    )
    run.add_argument(
        "--select", action="append", default=[], metavar="GLOB", help="scenarios by id"
    )
    run.add_argument("--json", type=Path, metavar="FILE", help="write every record to FILE")
    run.add_argument(
        "--report",
        action="append",
        default=[],
        type=ReportFile.parse,
        metavar="FORMAT=FILE",
        help=f"write a report while the run goes on: {', '.join(f.value for f in Format)}",
    )
    run.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="end the whole run after that"
    )
    run.add_argument(
        "--scenario-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="what one scenario may take (default: 10 s here; on the emulated host 3 s by its own "
        "clock, ten times slower); then its tasks' stacks are recorded, and it is killed",
    )
    run.add_argument(
        "--step-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="the same of one step of a scenario (default: what its scenario may take)",
    )
    run.add_argument(
        "--known",
        choices=("fail", "xfail"),
        default="fail",
        help="what known defects explain is a failure, or expected: XFAIL, and XPASS where one "
        "should have shown and did not (default: %(default)s)",
    )
    run.add_argument(
        "--hazardous",
        action="store_true",
        help="on this host too, go on where the next step can PANIC it",
    )
    run.add_argument(
        "--all-crashes",
        action="store_true",
        help="let every hazardous scenario crash, not only the first of each kind",
    )
    _add_exit_style(run, "the exit status as others count it (default: the list above)")
    add_device(run)
    add_kernel(run)


def _add_list(listing: argparse.ArgumentParser) -> None:
    listing.add_argument("--select", action="append", default=[], metavar="GLOB", help="by id")


def _add_explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    explain.add_argument("--json", action="store_true", help="the scenario itself, for `replay`")
    explain.add_argument(
        "--defect",
        action="append",
        default=[],
        metavar="ID",
        help="of a kernel with this known defect (B1, O1, ...), not of a correct one",
    )


def _add_probe(probe: argparse.ArgumentParser) -> None:
    probe.add_argument("--json", action="store_true", help="as a JSON document")
    add_device(probe)


def _add_report(report: argparse.ArgumentParser) -> None:
    _add_runs(report, "runs", nargs="+")
    report.add_argument(
        "--format",
        choices=[known.value for known in Format],
        required=True,
        help="KTAP, JUnit XML (xunit2), KCIDB v5, JSON lines, or one HTML page",
    )
    report.add_argument("--output", type=Path, metavar="FILE", help="write it there")
    _add_exit_style(report, "end with the status that the runs deserve, as others count it")


def _add_diff(diff: argparse.ArgumentParser) -> None:
    _add_runs(diff, "before")
    _add_runs(diff, "after")
    diff.add_argument("--markdown", action="store_true", help="for a merge request")


def _add_runs(command: argparse.ArgumentParser, name: str, nargs: str | None = None) -> None:
    command.add_argument(
        name, type=Path, nargs=nargs, metavar="RUN", help="what `kvmprobe run --json RUN` wrote"
    )


def _add_exit_style(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument(OPTION, choices=[style.value for style in ExitStyle], help=meaning)


def _add_lab(lab: argparse.ArgumentParser) -> None:
    commands = lab.add_subparsers(dest="lab_command", required=True, metavar="COMMAND")
    setup = commands.add_parser("setup", help="build the emulator, once, into the user's cache")
    add_sources(setup)
    program = commands.add_parser("exec", help="run a program on the emulated host")
    add_kernel(program)
    program.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH[:GUESTPATH]",
        help="take a file or directory along",
    )
    program.add_argument(
        "--cpus",
        type=int,
        choices=range(1, MOST_PROCESSORS + 1),
        default=1,
        help="processors of the emulated host (default: %(default)s)",
    )
    program.add_argument(
        "--memory",
        type=int,
        default=MEMORY_MIB,
        metavar="MIB",
        help="its memory; more if the files need more (default: %(default)s)",
    )
    program.add_argument(
        "--kernel-log",
        type=Path,
        metavar="FILE",
        help="boot verbosely; write the kernel's console to FILE (/dev/stderr: to see it)",
    )
    program.add_argument(
        "program", nargs="+", metavar="-- COMMAND", help="the program, its arguments"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value
