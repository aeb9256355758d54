"""Run the second model (``tests/opinion``) and the first side by side over random legal calls.

Ends with 1 if they disagree and no entry of ``tests/opinion/entries.toml`` says who is right.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.opinion.random_run import RandomRun

_STAGE = 50_000
_SHOWN = 10


def main() -> int:
    """Return 1 if the models disagreed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="calls to compare")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.monotonic()
    run = RandomRun(arguments.seed)
    disagreements: Counter[str] = Counter()
    for stage in range(_STAGE, arguments.steps + _STAGE, _STAGE):
        for one, made in run.until(min(stage, arguments.steps)):
            kind = f"{one.call.split('(')[0]}: {one.topic}"
            disagreements[kind] += 1
            if disagreements[kind] <= _SHOWN:
                print(one, *(f"    {op.text}" for op in made), sep="\n")
        seconds = time.monotonic() - start
        found = disagreements.total()
        print(f"{run.comparison.steps} calls, {found} disagreements, {seconds:.0f} s", flush=True)
    counts = run.comparison
    for topic, compared in sorted(counts.compared.items()):
        contested, tried = counts.contested[topic], counts.tried[topic]
        print(
            f"{topic}: {compared} compared; first model refuses {contested} of {tried} contraries"
        )
    result = "the models disagree" if disagreements else "both models agree"
    print(f"seed {arguments.seed}: {result}")
    return 1 if disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
