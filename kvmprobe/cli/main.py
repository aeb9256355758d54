"""Entry point of the ``kvmprobe`` command: dispatch, and errors as messages and exit statuses."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from kvmprobe.cli.arguments import parser
from kvmprobe.cli.select import all_ids, wanted
from kvmprobe.cli.terminal import output
from kvmprobe.errors import BootFailed, ExitCode, KvmprobeError
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.ops import op_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = parser().parse_args(argv)
    try:
        return int(_dispatch(arguments, output()))
    except KeyboardInterrupt:
        print("kvmprobe: interrupted", file=sys.stderr)
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
    print(f"kvmprobe: {untestable}{error}", file=sys.stderr)
    if isinstance(error, BootFailed) and error.last_lines:
        print("the last lines of its console:", file=sys.stderr)
        for line in error.last_lines:
            print(f"  {line}", file=sys.stderr)
    return int(error.exit_code)


def _dispatch(arguments: argparse.Namespace, console: Console) -> int:
    # Each command's modules are loaded only for that command: the lab's are many.
    match arguments.command:
        case "list":
            chosen = wanted(arguments.select)
            console.print("\n".join(i for i in all_ids() if chosen(i)), soft_wrap=True)
            return ExitCode.OK
        case "ops":
            print_lines(console, op_lines())
            return ExitCode.OK
        case "explain":
            from kvmprobe.cli import explain  # noqa: PLC0415

            return explain.run(arguments, console)
        case "probe":
            from kvmprobe.cli import probe  # noqa: PLC0415

            return probe.run(arguments, console)
        case "run":
            from kvmprobe.cli import run  # noqa: PLC0415

            return run.run(arguments, console)
        case _:
            from kvmprobe.cli import lab  # noqa: PLC0415

            return lab.run(arguments, console)


if __name__ == "__main__":
    sys.exit(main())
