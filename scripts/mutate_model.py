"""Mutates the model and replays the transcripts of real kernels: what do they not notice?

Each mutant is judged in a process of its own.  Survivors that change nothing that a kernel can
show are listed, with the reason, in ``tests/mutation/equivalent.toml``; they do not count.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import json
import lzma
import os
import signal
import sys
import time
import tomllib
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mutants import Mutant, mutants

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "kvmprobe" / "model"
TRANSCRIPTS = ROOT / "tests" / "transcripts"
EQUIVALENT = ROOT / "tests" / "mutation" / "equivalent.toml"
# Data that no transcript depends on: texts, the example host.
_LEFT_OUT = {"__init__", "behaviours", "sapphire_rapids"}
_STRIDE = 37
_DEADLINE = 120


class Fate(Enum):
    """What became of a mutant; the value is the exit status of its process."""

    SURVIVED = 0
    KILLED = 10


Document = tuple[dict[str, Any], bytes]


@dataclass(frozen=True, slots=True)
class MutatedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source."""

    name: str
    source: str

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Claim the module."""
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source."""
        exec(compile(self.source, self.name, "exec"), module.__dict__)  # noqa: S102


def notices(mutant: Mutant, module: str, documents: Sequence[Document]) -> bool:
    """Tell whether a replay with the mutant goes otherwise; called in a process of its own."""
    sys.meta_path.insert(0, MutatedModule(f"kvmprobe.model.{module}", mutant.source))
    try:
        from kvmprobe.execution.recording import disagreements  # noqa: PLC0415
        from kvmprobe.results.transcript import Transcript  # noqa: PLC0415

        for document, blob in documents:
            transcript = Transcript.from_document(_shuffled(document), blob)
            if next(disagreements(transcript), None) is not None:
                return True
    except Exception:
        return True
    return False


def _shuffled(document: dict[str, Any]) -> dict[str, Any]:
    """Put entries that are unlike each other first: most mutants die early."""
    entries = document["entries"]
    order = [e for start in range(_STRIDE) for e in entries[start::_STRIDE]]
    return document | {"entries": order}


def fates(
    chosen: Sequence[tuple[Mutant, str]], documents: Sequence[Document], jobs: int
) -> Iterator[tuple[Mutant, Fate]]:
    """Judge each mutant in a forked child; one that does not end in time is noticed, too."""
    running: dict[int, Mutant] = {}
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant, module = waiting.pop()
            pid = os.fork()
            if pid == 0:
                signal.alarm(_DEADLINE)
                noticed = notices(mutant, module, documents)
                os._exit((Fate.KILLED if noticed else Fate.SURVIVED).value)
            running[pid] = mutant
        pid, status = os.wait()
        yield running.pop(pid), Fate.KILLED if status else Fate.SURVIVED


def unnoticed_flips(documents: Sequence[Document]) -> list[str]:
    """Return the behaviours that can be switched without any transcript going otherwise."""
    from kvmprobe.execution.recording import disagreements  # noqa: PLC0415
    from kvmprobe.model.behaviours import Behaviour  # noqa: PLC0415
    from kvmprobe.results.transcript import Transcript  # noqa: PLC0415

    transcripts = [Transcript.from_document(_shuffled(d), blob) for d, blob in documents]
    unnoticed = []
    for behaviour in Behaviour:
        flipped = (disagreements(transcript, behaviour) for transcript in transcripts)
        if not any(next(found, None) is not None for found in flipped):
            unnoticed.append(behaviour.name)
    return unnoticed


def _documents() -> list[Document]:
    found = []
    for path in sorted(TRANSCRIPTS.glob("*.xz"), reverse=True):
        line, _, blob = lzma.decompress(path.read_bytes()).partition(b"\n")
        found.append((json.loads(line), blob))
    if not found:
        raise SystemExit(f"no transcripts in {TRANSCRIPTS}; scripts/record_transcripts makes them")
    return found


def _equivalent() -> dict[str, str]:
    entries = tomllib.loads(EQUIVALENT.read_text())["mutant"] if EQUIVALENT.exists() else []
    return {entry["key"]: entry["reason"] for entry in entries}


def main() -> None:
    """Print the survivors and the score."""
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__)
    parser.add_argument("glob", nargs="?", default="*", help="only mutants whose key matches")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    documents, equivalent, started = _documents(), _equivalent(), time.monotonic()
    chosen = [
        (mutant, path.stem)
        for path in sorted(MODEL.glob("*.py"))
        if path.stem not in _LEFT_OUT
        for mutant in mutants(path.stem, path.read_text())
        if fnmatchcase(mutant.key, arguments.glob)
    ]
    survivors = []
    for done, (mutant, end) in enumerate(fates(chosen, documents, arguments.jobs), 1):
        print(f"\r{done} of {len(chosen)}", end="", file=sys.stderr, flush=True)
        if end is Fate.SURVIVED:
            survivors.append(mutant)
    print(file=sys.stderr)
    survivors.sort(key=lambda mutant: mutant.key)
    for mutant in survivors:
        print(f"survived: {mutant.key} (line {mutant.line})")
        if mutant.key in equivalent:
            print(f"    equivalent: {equivalent[mutant.key]}")
    proven = sum(m.key in equivalent for m in survivors)
    counted, killed = len(chosen) - proven, len(chosen) - len(survivors)
    score = 100 * killed / counted if counted else 100.0
    pid = os.fork()
    if pid == 0:
        flips = unnoticed_flips(documents)
        print(f"behaviours switched without notice: {', '.join(flips) or 'none'}", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print(
        f"{len(chosen)} mutants: {killed} noticed, {len(survivors) - proven} survived, "
        f"{proven} equivalent; score {score:.1f} %, {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
