"""Mutate the model, and find the mutants that no transcript of a real kernel detects.

Each mutant is judged in its own process.  ``tests/mutation/survivors.toml`` lists survivors that
are equivalent for a kernel, with the reason; they do not count.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import os
import re
import resource
import signal
import sys
import time
import tomllib
from collections import defaultdict
from dataclasses import replace
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from mutants import Mutant, mutants

from kvmprobe.execution.recording import disagreements
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType, ModuleType

    from kvmprobe.results.transcript import Entry

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "kvmprobe" / "model"
TRANSCRIPTS = ROOT / "tests" / "transcripts"
SURVIVORS = ROOT / "tests" / "mutation" / "survivors.toml"
# Data that transcripts do not depend on: texts, rules, the example host.
_LEFT_OUT = {"__init__", "behaviours", "rule", "sapphire_rapids"}
_STRIDE = 37
_MATRIX_STRIDE = 10
_MEMORY = 2 << 30
_DEADLINE = 120


class Fate(Enum):
    """The result of a mutant; the value is the exit status of its process."""

    SURVIVED = 0
    KILLED = 10


def install(module: ModuleType, source: str) -> None:
    """Replace the source of a module, also in the modules that imported names from it.

    Existing functions get the new code and defaults.  A plain value is replaced where it was
    imported under its name, other objects where they are referenced.
    """
    before = dict(vars(module))
    exec(compile(source, module.__name__, "exec"), vars(module))  # noqa: S102
    exchanged, values = {}, {}
    for name, old in before.items():
        new = vars(module)[name]
        own = getattr(old, "__module__", None) == module.__name__
        if own and isinstance(inspect.unwrap(old), FunctionType):
            function, changed = inspect.unwrap(old), inspect.unwrap(new)
            function.__code__, function.__defaults__ = changed.__code__, changed.__defaults__
        elif own and new is not old:
            exchanged[id(old)] = new
        elif not own and new is not old and not name.startswith("_"):
            values[name] = (old, new)
    for user in [m for name, m in sys.modules.items() if name.startswith("kvmprobe.")]:
        for name, value in list(vars(user).items()):
            # What another module has kept may come from the mutated one.
            getattr(value, "cache_clear", lambda: None)()
            old, new = values.get(name, (value, None))
            by_name = name in values and value is old
            setattr(user, name, new if by_name else _with_exchanged(value, exchanged))


def _with_exchanged(value: Any, exchanged: dict[int, Any]) -> Any:  # noqa: ANN401 - anything
    if id(value) in exchanged:
        return exchanged[id(value)]
    if type(value) is dict and not exchanged.keys().isdisjoint(map(id, value.values())):
        return {key: exchanged.get(id(item), item) for key, item in value.items()}
    if type(value) in {tuple, list} and not exchanged.keys().isdisjoint(map(id, value)):
        return type(value)(exchanged.get(id(item), item) for item in value)
    return value


class Replays:
    """The transcripts, and the entries that call each function of the model."""

    def __init__(self, transcripts: Sequence[Transcript]) -> None:
        self.transcripts = transcripts
        self._callers: list[dict[tuple[str, str], list[Entry]]] = []
        for transcript in transcripts:
            callers: dict[tuple[str, str], list[Entry]] = defaultdict(list)
            for entry in transcript.entries:
                for function in _functions_called(transcript, entry):
                    callers[function].append(entry)
            self._callers.append(callers)

    def that_call(self, module: str, function: str) -> Iterator[Transcript]:
        """Yield the transcripts with these entries; with all entries if none calls the function."""
        known = any((module, function) in callers for callers in self._callers)
        for transcript, callers in zip(self.transcripts, self._callers, strict=True):
            entries = callers.get((module, function), ()) if known else transcript.entries
            yield replace(transcript, entries=tuple(entries))


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
    affected = list(replays.that_call(module, mutant.function))
    try:
        install(sys.modules[f"kvmprobe.model.{module}"], mutant.source)
        return any(next(disagreements(transcript), None) is not None for transcript in affected)
    except Exception:
        return True


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
    """Judge each mutant in a forked child; one that times out counts as detected."""
    running: dict[int, Mutant] = {}
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant, module = waiting.pop()
            pid = os.fork()
            if pid == 0:
                signal.alarm(_DEADLINE)
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
                noticed = notices(mutant, module, replays)
                os._exit((Fate.KILLED if noticed else Fate.SURVIVED).value)
            running[pid] = mutant
        pid, status = os.wait()
        yield running.pop(pid), Fate.KILLED if status else Fate.SURVIVED


def unnoticed_flips(transcripts: Sequence[Transcript]) -> list[str]:
    """Return the behaviours that can be switched without a difference in any transcript."""
    unnoticed = []
    for behaviour in Behaviour:
        flipped = (disagreements(transcript, behaviour) for transcript in transcripts)
        if not any(next(found, None) is not None for found in flipped):
            unnoticed.append(behaviour.name)
    return unnoticed


def _transcripts() -> list[Transcript]:
    paths = sorted(TRANSCRIPTS.glob("[0-9]*.xz"), reverse=True) + sorted(
        TRANSCRIPTS.glob("[a-z]*.xz")
    )
    if not paths:
        raise SystemExit(f"no transcripts in {TRANSCRIPTS}; scripts/record_transcripts makes them")
    return [_shuffled(Transcript.from_bytes(path.read_bytes())) for path in paths]


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
    transcripts, started = _transcripts(), time.monotonic()
    equivalent, unreachable = _reasons("equivalent"), _reasons("unreachable")
    again = _survivors_in(arguments.again.read_text()) if arguments.again else None
    chosen = [
        (mutant, path.stem)
        for path in sorted(MODEL.glob("*.py"))
        if path.stem not in _LEFT_OUT
        for mutant in mutants(path.stem, path.read_text())
        if any(fnmatchcase(mutant.key, glob) for glob in arguments.glob)
        if again is None or mutant.key in again
    ][:: arguments.every]
    gc.collect()
    gc.freeze()
    survivors = []
    for done, (mutant, end) in enumerate(fates(chosen, Replays(transcripts), arguments.jobs), 1):
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
    flips = unnoticed_flips(transcripts)
    print(f"behaviours whose switch is not detected: {', '.join(flips) or 'none'}")
    print(
        f"{len(chosen)} mutants: {killed} detected, {len(survivors) - proven} survived, "
        f"{proven} equivalent; score {score:.1f} %, {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
