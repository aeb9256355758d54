"""Damage the inputs of each parser of what others write (tests/support/parsers.py), by Atheris.

A parser may read an input or refuse it.  Anything else is a finding: another exception, an input
that takes seconds, memory beyond a limit.  Each place of the code is reported once; the input and
the traceback are kept in the output directory.  Atheris is not among the dependencies of the tests:
pip install atheris.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import atheris

with atheris.instrument_imports(include=["kvmprobe"]):
    from tests.support.damage import damaged_json
    from tests.support.parsers import PARSERS

if TYPE_CHECKING:
    from tests.support.parser import Parser

_SLOW_SECONDS = 5.0
_MOST_MEMORY = 4 << 30
_LONGEST = 100_000
# Slow inputs are findings of our own, by CPU time; this is wall time.
_LONGEST_SECONDS = 100_000


def main() -> int:
    """Return 1 if there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of parsers; all by default")
    parser.add_argument("--seconds", type=int, default=600, help="of CPU for each parser")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="directory of inputs and findings")
    arguments = parser.parse_args()
    found = [
        fuzz(PARSERS[name], arguments.seconds, arguments.seed, arguments.out)
        for name in arguments.names or PARSERS
    ]
    return int(any(found))


def fuzz(parser: Parser, seconds: int, seed: int, out: Path) -> bool:
    """Damage the inputs of one parser in a child; return True if there was a finding."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _Fuzzing(parser, seconds, seed, out).run()
    return os.waitpid(pid, 0)[1] != 0


class _Fuzzing:
    """One parser; the process ends when its time is over."""

    def __init__(self, parser: Parser, seconds: int, seed: int, out: Path) -> None:
        self._parser = parser
        self._seconds = seconds
        self._seed = seed
        self._folder = out / parser.name.replace(" ", "-")
        self._inputs = self._refused = 0
        self._findings: set[str] = set()
        self._start = 0.0

    def run(self) -> None:
        """Damage inputs until the time is over."""
        corpus = self._folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(self._parser.seeds()):
            (corpus / f"seed{number}").write_bytes(seed)
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        words = [
            self._parser.name,
            f"-seed={self._seed}",
            f"-max_len={_LONGEST}",
            "-len_control=0",
            "-rss_limit_mb=0",
            f"-timeout={_LONGEST_SECONDS}",
            "-verbosity=0",
            "-print_final_stats=0",
            str(corpus),
        ]
        atheris.Setup(words, self._try, custom_mutator=_damaged)
        self._start = time.process_time()
        atheris.Fuzz()

    def _try(self, content: bytes) -> None:
        began = time.process_time()
        self._inputs += 1
        with tempfile.TemporaryDirectory() as folder:
            try:
                self._parser.read(content, Path(folder))
            except self._parser.refusals:
                self._refused += 1
            except Exception as error:
                self._report(f"{type(error).__name__} {_place(error)}", content)
        if (seconds := time.process_time() - began) > _SLOW_SECONDS:
            self._report(f"slow {seconds:.0f} s", content)
        if time.process_time() - self._start > self._seconds:
            self._finish()

    def _report(self, what: str, content: bytes) -> None:
        if what in self._findings:
            return
        self._findings.add(what)
        name = f"{len(self._findings)}-{what}".replace("/", "_").replace(" ", "_")
        (self._folder / f"{name}.input").write_bytes(content)
        (self._folder / f"{name}.txt").write_text(traceback.format_exc())
        print(f"{self._parser.name}: {what}", flush=True)

    def _finish(self) -> None:
        result = {
            "parser": self._parser.name,
            "cpu_seconds": round(time.process_time() - self._start),
            "inputs": self._inputs,
            "refused": self._refused,
            "findings": sorted(self._findings),
        }
        print(json.dumps(result), flush=True)
        os._exit(int(bool(self._findings)))


def _place(error: BaseException) -> str:
    """Return the innermost line of kvmprobe in a traceback."""
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if "/kvmprobe/" in frame.f_code.co_filename
    ]
    file, line = frames[-1] if frames else ("", 0)
    return f"{Path(file).name}:{line}"


def _damaged(content: bytes, longest: int, seed: int) -> Any:  # noqa: ANN401 - Atheris has no types
    """Return JSON with other members, if it is JSON, or other bytes."""
    random = Random(seed)  # noqa: S311 - to be repeated
    if random.random() < 0.6 and (changed := damaged_json(content, random)) is not None:
        return changed[:longest]
    return atheris.Mutate(content, longest)


if __name__ == "__main__":
    sys.exit(main())
