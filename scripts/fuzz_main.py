"""Runs random scenarios and prints those that diverge without a known defect, or break.

Hazardous scenarios are not let on to the load that may kill the host.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.progress import Silent
from kvmprobe.reports.console import details
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.document import to_document
from kvmprobe.search.random_scenarios import harmless

if TYPE_CHECKING:
    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.scenario import Scenario

_FINE = {Verdict.PASS, Verdict.SKIPPED, Verdict.XFAIL}


def main() -> int:
    """Return 1 if a scenario diverged without a known defect, or broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--kernel", help="the emulated host with this kernel, not this host")
    parser.add_argument("--out", type=Path, help="write what fails there, as documents")
    parser.add_argument(
        "--without", metavar="REGEX", help="leave out scenarios with an op whose text matches"
    )
    arguments = parser.parse_args()
    unwanted = re.compile(arguments.without) if arguments.without else None
    scenarios: dict[str, Scenario] = {}
    verdicts: Counter[str] = Counter()
    failed: list[ScenarioRecord] = []

    def made(host: HostProfile) -> tuple[Scenario, ...]:
        for found in harmless(host, arguments.seed, arguments.count):
            if not (unwanted and any(unwanted.search(op.text) for _, op in found.ops())):
                scenarios[found.id] = found
        return tuple(scenarios.values())

    def sink(record: ScenarioRecord) -> None:
        verdicts[record.verdict.name] += 1
        if record.verdict not in _FINE and not record.explained:
            failed.append(record)

    runner = Runner(_place(arguments.kernel), Hazardous.STOP, sink, Silent())
    runner.run(lambda _: True, made)
    for record in failed:
        _report(record, scenarios[record.id], arguments.out)
    print(f"seed {arguments.seed}: {len(scenarios)} scenarios, {dict(verdicts)}")
    print(f"{len(failed)} failed, {len(runner.not_runnable)} not runnable here")
    return 1 if failed else 0


def _report(record: ScenarioRecord, scenario: Scenario, out: Path | None) -> None:
    print(*details(record), sep="\n")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{record.id}.json").write_text(to_document(scenario))


def _place(kernel: str | None) -> Place:
    if not kernel:
        return ThisHost()
    from kvmprobe.lab.archive import Archives  # noqa: PLC0415 - only where it is wanted
    from kvmprobe.lab.cache import Cache  # noqa: PLC0415
    from kvmprobe.lab.place import EmulatedHost  # noqa: PLC0415

    return EmulatedHost.prepare(Archives(Cache.from_environment(), ()), kernel, None, Silent())


if __name__ == "__main__":
    sys.exit(main())
