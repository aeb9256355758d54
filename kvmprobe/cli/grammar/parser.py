"""The command line: the commands, and the arguments of those that are needed."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

from kvmprobe import __version__
from kvmprobe.cli.grammar.epilogs import EXIT_STATUS, end_with

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each command is the module kvmprobe.cli.NAME, which has add_arguments() and run().
COMMANDS = {
    "run": "run scenarios and judge the kernel",
    "resume": "continue a run or a matrix that was interrupted",
    "matrix": "run scenarios on several kernels; print one table",
    "bisect": "find the first packaged kernel with or without a failure",
    "runs": "list the kept runs, or their records",
    "list": "list the scenarios",
    "ops": "list the ops: kernel call, errnos, sources",
    "explain": "show what the model expects of a scenario, and why",
    "repro": "write a scenario as a C program",
    "replay": "run scenarios from their JSON form",
    "explore": "make every call in every state of the model, up to a depth",
    "fuzz": "search with random sequences of calls",
    "judge": "say what is wrong with the calls that a VMM was recorded to make",
    "compat": "say whether a guest that is saved on one host goes on on another",
    "save": "save a guest that has filled its state to a file",
    "restore": "restore a saved guest, which goes on and checks itself",
    "migrate": "move guests between emulated hosts, and compare with what is predicted",
    "convert": "make a scenario of an attached CPU template or dump",
    "trace": "record the KVM calls of a program, or show a recording",
    "probe": "show what this CPU, kernel and KVM offer",
    "report": "make one HTML page of runs, or a report for programs",
    "diff": "show what changed from one run to another",
    "coverage": "show which basic blocks of the kernel a run reached",
    "bugreport": "write a failure as a mail to kernel developers",
    "fleet": "certificates for campaigns on several machines",
    "lab": "the emulated AMX host",
    "completion": "print a completion script for a shell to evaluate",
    "man": "print the manual page: `kvmprobe man | man -l -`",
}


def parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser; each command sets ``command``.

    :param words: a command line; the arguments of commands that it does not name are left out,
        and their modules are not imported.  Where it begins with a command, the others are left
        out completely.  Without it the parser is complete.
    """
    top = argparse.ArgumentParser(
        prog="kvmprobe",
        description="Restore a KVM guest's XCR0, XFD and XSTATE in every order; judge each step.",
    )
    end_with(top, EXIT_STATUS)
    top.add_argument("--version", action="version", version=f"kvmprobe {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    first = [name for name in (words or ())[:1] if name in COMMANDS]
    for name in first or COMMANDS:
        command = commands.add_parser(name, help=COMMANDS[name])
        if words is None or name in words:
            import_module(f"kvmprobe.cli.{name}").add_arguments(command)
    return top
