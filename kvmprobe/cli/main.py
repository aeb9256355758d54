"""Entry point of the ``kvmprobe`` command: dispatch, and errors as messages and exit statuses."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import exit_status, style_of
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.terminal import output, tell
from kvmprobe.errors import BootFailed, ExitCode, KvmprobeError
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.ops import op_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from rich.console import Console


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _interrupt)
    style = style_of(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parser().parse_args(argv)
        arguments.argv = list(sys.argv[1:] if argv is None else argv)
    except SystemExit as ended:
        if ended.code:
            sys.exit(exit_status(style, ExitCode.USAGE))
        raise
    code = _ended(arguments)
    # A program of the user's own has statuses of its own.
    return exit_status(style, code) if isinstance(code, ExitCode) else code


def _ended(arguments: argparse.Namespace) -> int:
    console = output()
    console.timestamps = getattr(arguments, "timestamps", False)
    try:
        return _dispatch(arguments, console)
    except KeyboardInterrupt:
        tell("kvmprobe: interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KvmprobeError as error:
        return _fail(error)
    except Exception:
        traceback.print_exc()
        print("kvmprobe: this is a bug in kvmprobe, please report it", file=sys.stderr)
        return ExitCode.TOOL_BUG


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(error: KvmprobeError) -> int:
    untestable = "untestable: " if isinstance(error, BootFailed) else ""
    lines = f"kvmprobe: {untestable}{error}".splitlines()
    if isinstance(error, BootFailed) and error.last_lines:
        lines += ["the last lines of its console:", *(f"  {line}" for line in error.last_lines)]
    for line in lines:
        tell(line)
    return error.exit_code


def _dispatch(arguments: argparse.Namespace, console: Console) -> int:
    # Each command has a module, loaded only for that command: the lab's are many.
    match arguments.command:
        case "ops":
            print_lines(console, op_lines())
            return ExitCode.OK
        case command:
            run: Callable[[argparse.Namespace, Console], int]
            run = import_module(f"kvmprobe.cli.{command}").run
            return run(arguments, console)


if __name__ == "__main__":
    sys.exit(main())
