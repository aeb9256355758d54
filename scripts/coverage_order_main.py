"""Order the scenarios of the catalogue by the coverage that they add.

Writes ``kvmprobe/coverage/first.txt`` from runs of the whole catalogue with ``--coverage``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from kvmprobe.coverage.first import FILE, order
from kvmprobe.coverage.of_run import coverage_of_directory

PATH = Path(__file__).parent.parent / "kvmprobe" / "coverage" / FILE
_HEAD = """\
# Scenarios that add coverage, the one that adds most first; scripts/coverage_order makes this file.
"""


def main() -> None:
    """Read the runs, and write the file."""
    parser = argparse.ArgumentParser(prog="coverage_order", description=__doc__)
    parser.add_argument("run", nargs="+", type=Path, metavar="RUN", help="a run's directory")
    reached = Counter[str]()
    offset = 0
    for run in parser.parse_args().run:
        for measured in coverage_of_directory(run).values():
            for name, bits in measured.by_scenario.items():
                reached[name] |= bits << offset
            offset += len(measured.blocks)
    names = list(order(reached))
    PATH.write_text(_HEAD + "".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{PATH.name}: {len(names)} of {len(reached)} scenarios, {offset} blocks")


if __name__ == "__main__":
    main()
