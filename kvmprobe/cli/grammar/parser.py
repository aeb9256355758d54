"""The command line's grammar."""

from __future__ import annotations

import argparse
from pathlib import Path

from kvmprobe import __version__
from kvmprobe.cli.grammar.bugreport import add_bugreport
from kvmprobe.cli.grammar.epilogs import (
    DISKS,
    EXIT_STATUS,
    EXIT_STYLES,
    FORMATS,
    RESUMING,
    end_with,
)
from kvmprobe.cli.grammar.run import add_run
from kvmprobe.cli.grammar.scenario import add_replay, add_repro
from kvmprobe.cli.grammar.selection import SELECTION_HELP, add_selection
from kvmprobe.cli.grammar.shared import (
    add_device,
    add_exit_style,
    add_kernel,
    add_sources,
    count,
    seconds,
)
from kvmprobe.cli.report import PAGE
from kvmprobe.cli.scenario import SCENARIO_HELP
from kvmprobe.lab.boot_image import MEMORY_MIB, MOST_PROCESSORS
from kvmprobe.lab.disk import MOUNT_POINT
from kvmprobe.lab.program import SILENCE_SECONDS
from kvmprobe.reports.formats import Format

SHELLS = ("bash", "zsh", "fish")


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets ``command``."""
    top = argparse.ArgumentParser(
        prog="kvmprobe",
        description="Restore a KVM guest's XCR0, XFD and XSTATE in every order; judge each step.",
    )
    end_with(top, EXIT_STATUS)
    top.add_argument("--version", action="version", version=f"kvmprobe {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run(commands.add_parser("run", help="run scenarios and judge the kernel"))
    _add_resume(commands.add_parser("resume", help="go on with a run that was cut short"))
    _add_kept(commands.add_parser("runs", help="list the runs that were kept, or their records"))
    _add_list(commands.add_parser("list", help="list the scenarios"))
    ops = commands.add_parser("ops", help="list the ops: kernel call, errnos, sources")
    ops.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON Schema of scenario documents instead, as editors take it",
    )
    _add_explain(
        commands.add_parser("explain", help="show what the model expects of a scenario, and why")
    )
    add_repro(commands.add_parser("repro", help="write a scenario as a C program"))
    add_replay(commands.add_parser("replay", help="run a scenario from its JSON form"))
    _add_probe(commands.add_parser("probe", help="tell what this CPU, kernel and KVM offer"))
    _add_report(
        commands.add_parser("report", help="make one HTML page of runs, or a report for programs")
    )
    _add_diff(commands.add_parser("diff", help="tell what changed from one run to another"))
    add_bugreport(
        commands.add_parser("bugreport", help="write a failure as a mail to kernel developers")
    )
    _add_lab(commands.add_parser("lab", help="the emulated AMX host"))
    _add_completion(
        commands.add_parser("completion", help="print a shell's completion script, to be evaluated")
    )
    commands.add_parser("man", help="print the manual page: `kvmprobe man | man -l -`")
    return top


def _add_resume(resume: argparse.ArgumentParser) -> None:
    resume.add_argument("run", type=Path, metavar="DIR", help="the run's directory")
    resume.add_argument(
        "--retries",
        type=count,
        default=1,
        metavar="K",
        help="run a scenario during which this host went down K times more, alone; then leave it "
        "(default: %(default)s)",
    )
    resume.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="end this attempt after that (default: what the run was begun with)",
    )
    add_exit_style(
        resume, "the exit status as others count it (default: as `kvmprobe --help` lists it)"
    )
    end_with(resume, RESUMING, EXIT_STYLES)


def _add_kept(runs: argparse.ArgumentParser) -> None:
    runs.add_argument("--scenario", metavar="GLOB", help="records of these scenarios, by kernel")
    runs.add_argument("--kernel", metavar="GLOB", help="records on these kernels")
    runs.add_argument("--verdict", metavar="GLOB", help="records with these verdicts")
    runs.add_argument(
        "--also",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="take a run in that `run --out DIR` made elsewhere",
    )
    runs.add_argument("--json", action="store_true", help="as a JSON document")


def _add_list(listing: argparse.ArgumentParser) -> None:
    end_with(listing, SELECTION_HELP)
    add_selection(listing)
    form = listing.add_mutually_exclusive_group()
    form.add_argument(
        "--long", action="store_true", help="with tags, needs, ops, hazards and the defects shown"
    )
    form.add_argument("--json", action="store_true", help="the same as a JSON document")


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
    probe.add_argument(
        "--disarm",
        action="store_true",
        help="only restore the settings that a killed `run --arm` has left",
    )
    add_device(probe)


def _add_report(report: argparse.ArgumentParser) -> None:
    _add_runs(report, "runs", "RUN", nargs="+")
    report.add_argument(
        "--format",
        choices=[known.value for known in Format],
        default=Format.HTML.value,
        help="KTAP, JUnit XML (xunit2), KCIDB v5, JSON lines, or one HTML page"
        " (default: %(default)s)",
    )
    report.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write it there; `-` is standard output (default: {PAGE} for a page, which is"
        " refused if that is there already; else standard output)",
    )
    add_exit_style(report, "end with the status that the runs deserve, as others count it")
    end_with(report, FORMATS, EXIT_STYLES)


def _add_diff(diff: argparse.ArgumentParser) -> None:
    _add_runs(diff, "before", "BEFORE")
    _add_runs(diff, "after", "AFTER")
    diff.add_argument("--markdown", action="store_true", help="for a merge request")


def _add_runs(
    command: argparse.ArgumentParser, name: str, shown: str, nargs: str | None = None
) -> None:
    command.add_argument(
        name,
        type=Path,
        nargs=nargs,
        metavar=shown,
        help="a run's directory, or what `run --json` wrote",
    )


def _add_lab(lab: argparse.ArgumentParser) -> None:
    commands = lab.add_subparsers(dest="lab_command", required=True, metavar="COMMAND")
    setup = commands.add_parser("setup", help="build the emulator, once, into the user's cache")
    add_sources(setup)
    program = commands.add_parser("exec", help="run a program on the emulated host")
    program.usage = "%(prog)s [OPTION]... -- COMMAND [ARGUMENT]..."
    end_with(program, DISKS)
    add_kernel(program)
    program.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH[:GUESTPATH]",
        help="take a file or directory along",
    )
    program.add_argument(
        "--with-kvmprobe",
        action="store_true",
        help="take this kvmprobe along for a script's use (the command kvmprobe always is)",
    )
    program.add_argument(
        "--disk",
        metavar="FILE[:MOUNTPOINT]",
        help="an ext4 image that outlives the machine, and its panics"
        f" (default mount point: {MOUNT_POINT})",
    )
    program.add_argument(
        "--disk-size", type=int, metavar="MIB", help="make the disk if FILE does not exist"
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
        "--silence",
        type=seconds,
        default=SILENCE_SECONDS,
        metavar="SECONDS",
        help="how long without any output counts as a hang (default: %(default)g)",
    )
    program.add_argument(
        "program",
        nargs="+",
        metavar="-- COMMAND",
        help="the program, by its path here or in the guest, and its arguments",
    )


def _add_completion(completion: argparse.ArgumentParser) -> None:
    completion.add_argument(
        "shell",
        choices=SHELLS,
        metavar="SHELL",
        help=f'{", ".join(SHELLS)}; for bash: eval "$(kvmprobe completion bash)"',
    )
    # What the scripts ask for when a key is pressed.
    completion.add_argument("--kernels", action="store_true", help=argparse.SUPPRESS)
