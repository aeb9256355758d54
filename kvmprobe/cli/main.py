"""Entry point of the ``kvmprobe`` command: dispatch, error messages and exit statuses."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import exit_status, style_of
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.errors import BootFailed, ExitCode, KvmprobeError, OutputLost

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from rich.console import Console

_JUDGING = frozenset({"run", "resume", "replay", "fuzz", "matrix"})
# They read before they print, so an OSError without a file name is about standard output.
_PRINTING = frozenset({"list", "man", "completion", "report", "explain", "bugreport"})

_WRITE_BY_OTHERS = 0o022


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    # Ops and model states live to the end and are in no cycle; looking for garbage among them takes
    # a fifth of the CPU time of `list`.
    gc.set_threshold(50_000)
    _open_standard_streams()
    if os.geteuid() == 0:
        # No other user can change what root will read or run.
        os.umask(os.umask(_WRITE_BY_OTHERS) | _WRITE_BY_OTHERS)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _interrupt)
    style = style_of(sys.argv[1:] if argv is None else argv)
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        grammar = parser(words)
        arguments = grammar.parse_args(words)
        arguments.argv = words
    except SystemExit as ended:
        if ended.code:
            sys.exit(exit_status(style, ExitCode.USAGE))
        raise
    except KvmprobeError as error:
        # The modules of a command import compiled parts, which may be missing or stale.
        return exit_status(style, ExitCode(_fail(error)))
    if arguments.command is None:
        grammar.print_help(sys.stderr)
        return exit_status(style, ExitCode.USAGE)
    code = _ended(arguments)
    # `lab exec` returns the status of the user's program.
    return exit_status(style, code) if isinstance(code, ExitCode) else code


def _ended(arguments: argparse.Namespace) -> int:
    # After the command line has been read: rich is not needed for --help.
    from kvmprobe.cli.terminal import output, print_line  # noqa: PLC0415

    console = output()
    console.timestamps = getattr(arguments, "timestamps", False)
    try:
        code = _dispatch(arguments, console)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print_line("kvmprobe: interrupted")
        return ExitCode.INTERRUPTED
    except OutputLost as lost:
        return _unread(lost, arguments.command)
    except KvmprobeError as error:
        return _fail(error)
    except Exception as error:
        return _unforeseen(error, arguments.command)
    return code


def _unforeseen(error: Exception, command: str) -> int:
    """Distinguish output that cannot be written from a bug in kvmprobe."""
    if isinstance(error, OSError) and (
        isinstance(error, BrokenPipeError) or (command in _PRINTING and not error.filename)
    ):
        # Python would flush it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _unread(OutputLost(error), command)
    traceback.print_exception(error)
    print("kvmprobe: this is a bug in kvmprobe, please report it", file=sys.stderr)
    return ExitCode.TOOL_BUG


def _open_standard_streams() -> None:
    """Open the descriptors 0 to 2 if they are closed, so that no other file becomes one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _unread(lost: OutputLost, command: str) -> int:
    """Return the status of output that could not be written.

    The reader of a report may have seen enough, but a run must not look as if it had passed.
    """
    return ExitCode.OK if lost.reader_gone and command not in _JUDGING else _fail(lost)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(error: KvmprobeError) -> int:
    from kvmprobe.cli.terminal import print_line  # noqa: PLC0415

    untestable = "untestable: " if isinstance(error, BootFailed) else ""
    lines = f"kvmprobe: {untestable}{error}".splitlines()
    if isinstance(error, BootFailed) and error.last_lines:
        lines += ["the last lines of its console:", *(f"  {line}" for line in error.last_lines)]
    for line in lines:
        print_line(line)
    return error.exit_code


def _dispatch(arguments: argparse.Namespace, console: Console) -> int:
    run: Callable[[argparse.Namespace, Console], int]
    run = import_module(f"kvmprobe.cli.{arguments.command}").run
    return run(arguments, console)


if __name__ == "__main__":
    sys.exit(main())
