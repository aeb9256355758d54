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
from collections import defaultdict
from dataclasses import replace
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from mutants import Mutant, mutants
from mutated_model import caches, exchange, forget_package, function_at

from kvmprobe.execution.recording import disagreements
from kvmprobe.model.behaviours import Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from kvmprobe.results.transcript import Entry, Transcript

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "kvmprobe" / "model"
TRANSCRIPTS = ROOT / "tests" / "transcripts"
SURVIVORS = ROOT / "tests" / "mutation" / "survivors.toml"
# Data that transcripts do not depend on: texts, rules, the example host.
_LEFT_OUT = {"__init__", "behaviours", "rule", "sapphire_rapids"}
_STRIDE = 37
_MATRIX_STRIDE = 10
_MEMORY = 1 << 30
_SECONDS = 30


class Fate(Enum):
    """The result of a mutant; the value is the exit status of its process."""

    SURVIVED = 0
    KILLED = 10


class Replays:
    """The transcripts, and the entries that call each function of the model.

    :ivar contents: the files
    """

    def __init__(self, contents: Sequence[bytes]) -> None:
        self.contents = contents
        self.transcripts = transcripts = list(map(_transcript, contents))
        self._callers: list[dict[tuple[str, str], list[Entry]]] = []
        kept = caches()
        for transcript in transcripts:
            callers: dict[tuple[str, str], list[Entry]] = defaultdict(list)
            for entry in transcript.entries:
                # What an earlier entry has left in a cache is called by this one as well.
                for clear in kept:
                    clear()
                for function in _functions_called(transcript, entry):
                    callers[function].append(entry)
            self._callers.append(callers)

    def that_call(self, module: str, function: str) -> list[Transcript]:
        """Return the transcripts with these entries, without those that have none."""
        return [
            replace(transcript, entries=tuple(callers[module, function]))
            for transcript, callers in zip(self.transcripts, self._callers, strict=True)
            if (module, function) in callers
        ]


def _functions_called(transcript: Transcript, entry: Entry) -> set[tuple[str, str]]:
    called: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(MODEL)):
            parts = [part for part in code.co_qualname.split(".") if not part.startswith("<")]
            called.add((Path(code.co_filename).stem, ".".join(parts)))

    sys.setprofile(note)
    try:
        list(disagreements(replace(transcript, entries=(entry,))))
    finally:
        sys.setprofile(None)
    return called


def notices(mutant: Mutant, module: str, replays: Replays) -> bool:
    """Return True if a replay with the mutant differs; must run in its own process."""
    name = f"kvmprobe.model.{module}"
    affected = replays.that_call(module, mutant.place) if mutant.in_function else []
    function = function_at(vars(sys.modules[name]), mutant.place) if affected else None
    try:
        if function is not None:
            exchange(function, mutant.place, mutant.source)
            return any(map(_is_judged_otherwise, affected))
        forget_package(name, mutant.source)
        return any(map(_is_judged_otherwise, map(_transcript, replays.contents)))
    except Exception:
        return True


def _is_judged_otherwise(transcript: Transcript) -> bool:
    from kvmprobe.execution.recording import disagreements  # noqa: PLC0415 - perhaps again

    return next(disagreements(transcript), None) is not None


def _transcript(content: bytes) -> Transcript:
    from kvmprobe.results.transcript import Transcript  # noqa: PLC0415 - perhaps again

    return _shuffled(Transcript.from_bytes(content))


def _shuffled(transcript: Transcript) -> Transcript:
    """Sort different kinds of entries to the front, since most mutants are detected early.

    Scenarios of the restore matrix are similar: every tenth is used.
    """
    matrix = [entry for entry in transcript.entries if entry.scenario.family == "restore"]
    others = [entry for entry in transcript.entries if entry.scenario.family != "restore"]
    entries = others + matrix[::_MATRIX_STRIDE]
    order = [entry for start in range(_STRIDE) for entry in entries[start::_STRIDE]]
    return replace(transcript, entries=tuple(order))


def fates(
    chosen: Sequence[tuple[Mutant, str]], replays: Replays, jobs: int
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
                noticed = notices(mutant, module, replays)
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


def _contents() -> list[bytes]:
    paths = sorted(TRANSCRIPTS.glob("[0-9]*.xz"), reverse=True) + sorted(
        TRANSCRIPTS.glob("[a-z]*.xz")
    )
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
    arguments = parser.parse_args()
    contents, started = _contents(), time.monotonic()
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
    replays = Replays(contents)
    gc.collect()
    gc.freeze()
    survivors = []
    for done, (mutant, end) in enumerate(fates(chosen, replays, arguments.jobs), 1):
        print(f"\r{done} of {len(chosen)}", end="", file=sys.stderr, flush=True)
        if end is Fate.SURVIVED:
            survivors.append(mutant)
            print(f"\nsurvived: {mutant.key} (line {mutant.line})", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    survivors.sort(key=lambda mutant: mutant.key)
    for mutant in survivors:
        print(f"survived: {mutant.key} (line {mutant.line})")
        for kind, reasons in (("equivalent", equivalent), ("unreachable", unreachable)):
            if why := _reason(mutant.key, reasons):
                print(f"    {kind}: {why}")
    proven = sum(bool(_reason(m.key, equivalent)) for m in survivors)
    counted, killed = len(chosen) - proven, len(chosen) - len(survivors)
    score = 100 * killed / counted if counted else 100.0
    flips = unnoticed_flips(replays.transcripts)
    print(f"behaviours whose switch is not detected: {', '.join(flips) or 'none'}")
    for name, why in _reasons("switch").items():
        if name in flips:
            print(f"    {name}: {why}")
    print(
        f"{len(chosen)} mutants: {killed} detected, {len(survivors) - proven} survived, "
        f"{proven} equivalent; score {score:.1f} %, {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
