"""The process that runs a shard of a campaign on a worker's machine; see kvmprobe/fleet/worker.py.

It reads an order, a line of JSON, and says before each batch which scenarios it has in it; it goes
on when the answer, a line, has come.  Its last line says why it did not run to its end, if so.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kvmprobe.cli.attempt import first_attempt, next_attempt
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.run import carry_out
from kvmprobe.errors import KvmprobeError, RunDirectoryError
from kvmprobe.execution.journaling import Journaling
from kvmprobe.fleet.orders import Order
from kvmprobe.results.run_directory import is_run_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from kvmprobe.cli.attempt import Attempt
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.run_directory import RunDirectory

# As `resume` has it.
_RETRIES = 1
# A shard that nobody wants any more may still be ending, in the same directory.
_BUSY_SECONDS = 60.0


class _Announcing(Journaling):
    """A ledger that says what is about to run, once that is on the disk."""

    def __init__(
        self, directory: RunDirectory, environments: Mapping[Target, Mapping[str, Any]]
    ) -> None:
        super().__init__(directory, environments)
        self._recorded = 0

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Write it to the disk, then say it."""
        super().intend(scenario_ids)
        self._say(scenario_ids)

    def intend_fatal(self, scenario_id: str) -> None:
        """Write it to the disk, then say it."""
        super().intend_fatal(scenario_id)
        self._say([scenario_id])

    def record(self, record: ScenarioRecord) -> None:
        """Write and count it."""
        super().record(record)
        self._recorded += 1

    def _say(self, scenario_ids: Sequence[str]) -> None:
        _say({"open": list(scenario_ids), "recorded": self._recorded})
        if not sys.stdin.readline():
            raise KeyboardInterrupt  # the worker has died


def _attempt(given: argparse.Namespace, folder: Path, scenarios: Sequence[str]) -> Attempt:
    if not is_run_directory(folder):
        return first_attempt(given, scenarios, folder)
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            _, attempt = next_attempt(folder, _RETRIES, scenarios)
        except RunDirectoryError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return attempt


def _run(order: Order, folder: Path) -> None:
    given = parser(order.words).parse_args(order.words)
    given.argv = list(order.words)
    attempt = _attempt(given, folder, order.scenarios)
    ledger = _Announcing(attempt.directory, attempt.ledger.environments)
    attempt = replace(attempt, ledger=ledger, planned=order.scenarios)
    carry_out(given, attempt, Console(quiet=True))


def _say(what: Mapping[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the order on standard input; the argument is the run directory."""
    signal.signal(signal.SIGTERM, _interrupt)
    order = Order.of(sys.stdin.readline())
    try:
        _run(order, Path(sys.argv[1]))
    except KvmprobeError as error:
        _say({"refused": str(error) or type(error).__name__})
    else:
        _say({"refused": ""})


if __name__ == "__main__":
    main()
