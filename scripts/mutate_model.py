"""Mutate the model, and find the mutants that no transcript of a real kernel detects.

Each mutant is judged in its own process.  ``tests/mutation/survivors.toml`` lists survivors that
are equivalent for a kernel, with the reason; they do not count.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import resource
import sys
import time
import tomllib
from collections import Counter
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from mutant_evidence import Evidence
from mutants import Mutant, mutants

from kvmprobe.execution.recording import disagreements
from kvmprobe.model.behaviours import Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.results.transcript import Transcript

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "kvmprobe" / "model"
TRANSCRIPTS = ROOT / "tests" / "transcripts"
SURVIVORS = ROOT / "tests" / "mutation" / "survivors.toml"
# Data that transcripts do not depend on: texts, rules, the example host.
_LEFT_OUT = {"__init__", "behaviours", "rule", "sapphire_rapids"}
_MEMORY = 2 << 30
_SECONDS = 200


class Fate(Enum):
    """The result of a mutant; the value is the exit status of its process."""

    SURVIVED = 0
    KILLED = 10


def fates(
    chosen: Sequence[tuple[Mutant, str]], evidence: Evidence, jobs: int
) -> Iterator[tuple[Mutant, Fate]]:
    """Judge each mutant in a forked child; one that takes too long counts as detected."""
    running: dict[int, Mutant] = {}
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant, module = waiting.pop()
            pid = os.fork()
            if pid == 0:
                resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
                noticed = evidence.notices(mutant, module)
                os._exit((Fate.KILLED if noticed else Fate.SURVIVED).value)
            running[pid] = mutant
        pid, status = os.wait()
        # The shell that became this process may have left a child of its own.
        if judged := running.pop(pid, None):
            yield judged, Fate.KILLED if status else Fate.SURVIVED


def unnoticed_flips(transcripts: Sequence[Transcript]) -> list[str]:
    """Return the behaviours that can be switched without a difference in any transcript."""
    unnoticed = []
    for behaviour in Behaviour:
        flipped = (disagreements(transcript, behaviour) for transcript in transcripts)
        if not any(next(found, None) is not None for found in flipped):
            unnoticed.append(behaviour.name)
    return unnoticed


def _print_flips(transcripts: Sequence[Transcript]) -> None:
    flips = unnoticed_flips(transcripts)
    print(f"behaviours whose switch is not detected: {', '.join(flips) or 'none'}")
    for name, why in _reasons("switch").items():
        if name in flips:
            print(f"    {name}: {why}")


def _print_modules(
    chosen: Sequence[tuple[Mutant, str]], survivors: Sequence[Mutant], equivalent: dict[str, str]
) -> None:
    module_of = {mutant.key: module for mutant, module in chosen}
    every = Counter(module_of.values())
    proven = Counter(module_of[m.key] for m in survivors if _reason(m.key, equivalent))
    left = Counter(module_of[mutant.key] for mutant in survivors) - proven
    print(f"{'module':16} mutants detected equivalent survived")
    for module, count in every.items():
        detected = count - proven[module] - left[module]
        print(f"{module:16} {count:7} {detected:8} {proven[module]:10} {left[module]:8}")


def _contents(chosen: Sequence[str]) -> list[bytes]:
    paths = sorted(TRANSCRIPTS.glob("[0-9]*.xz"), reverse=True) + sorted(
        TRANSCRIPTS.glob("[a-z]*.xz")
    )
    paths = [path for path in paths if not chosen or path.stem in chosen]
    if not paths:
        raise SystemExit(f"no transcripts in {TRANSCRIPTS}; scripts/record_transcripts makes them")
    return [path.read_bytes() for path in paths]


def _reasons(kind: str) -> dict[str, str]:
    """Return the reasons for one kind of survivor, by pattern of their keys."""
    return {entry["key"]: entry["reason"] for entry in tomllib.loads(SURVIVORS.read_text())[kind]}


def _reason(key: str, reasons: dict[str, str]) -> str:
    return next((why for pattern, why in reasons.items() if fnmatchcase(key, pattern)), "")


def _survivors_in(printed: str) -> set[str]:
    """Return the keys of the survivors in the output of an earlier run."""
    return set(re.findall(r"^survived: (.*) \(line \d+\)$", printed, re.MULTILINE))


def main() -> None:
    """Print the survivors and the score."""
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__)
    parser.add_argument("glob", nargs="*", default=["*"], help="only mutants with a matching key")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", type=int, default=1, help="a sample: every EVERY-th mutant")
    parser.add_argument(
        "--again", type=Path, help="only the survivors in the output of an earlier run"
    )
    parser.add_argument(
        "--transcript",
        action="append",
        default=[],
        help="only this one: 7.3.4-documents; quick, after a document was added; can be repeated",
    )
    parser.add_argument(
        "--switches", action="store_true", help="also report behaviours whose switch is unnoticed"
    )
    arguments = parser.parse_args()
    contents, started = _contents(arguments.transcript), time.monotonic()
    equivalent, unreachable = _reasons("equivalent"), _reasons("unreachable")
    again = _survivors_in(arguments.again.read_text()) if arguments.again else None
    every = [
        (mutant, path.stem)
        for path in sorted(MODEL.glob("*.py"))
        if path.stem not in _LEFT_OUT
        for mutant in mutants(path.stem, path.read_text())
    ]
    for pattern in (*equivalent, *unreachable):
        if not any(fnmatchcase(mutant.key, pattern) for mutant, _ in every):
            print(f"a reason that is no mutant's: {pattern}")
    chosen = [
        (mutant, module)
        for mutant, module in every
        if any(fnmatchcase(mutant.key, glob) for glob in arguments.glob)
        if again is None or mutant.key in again
    ][:: arguments.every]
    evidence = Evidence(contents)
    gc.collect()
    gc.freeze()
    survivors = []
    for done, (mutant, end) in enumerate(fates(chosen, evidence, arguments.jobs), 1):
        print(f"\r{done} of {len(chosen)}", end="", file=sys.stderr, flush=True)
        if end is Fate.SURVIVED:
            survivors.append(mutant)
            print(f"\nsurvived: {mutant.key} (line {mutant.line})", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    survivors.sort(key=lambda mutant: mutant.key)
    _print_modules(chosen, survivors, equivalent)
    for mutant in survivors:
        print(f"survived: {mutant.key} (line {mutant.line})")
        for kind, reasons in (("equivalent", equivalent), ("unreachable", unreachable)):
            if why := _reason(mutant.key, reasons):
                print(f"    {kind}: {why}")
    proven = sum(bool(_reason(m.key, equivalent)) for m in survivors)
    counted, killed = len(chosen) - proven, len(chosen) - len(survivors)
    score = 100 * killed / counted if counted else 100.0
    if arguments.switches:
        _print_flips(evidence.transcripts)
    print(
        f"{len(chosen)} mutants: {killed} detected, {len(survivors) - proven} survived, "
        f"{proven} equivalent; score {score:.1f} %, {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
