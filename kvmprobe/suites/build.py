"""Building upstream's selftests with their own makefiles, once for each source and compiler.

A test that does not build is no error: it is listed with what the compiler said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import EmulatorBuildFailed
from kvmprobe.lab import build_step
from kvmprobe.lab.seal import is_whole, seal
from kvmprobe.results.codec import from_json, to_json
from kvmprobe.suites.selftest import Collection, Selftest
from kvmprobe.suites.source_tree import unpack

if TYPE_CHECKING:
    from pathlib import Path

    from kvmprobe.lab.archive import Archives
    from kvmprobe.progress import Progress
    from kvmprobe.suites.source import Source

TOOLS = {"make": "make", "gcc": "gcc", "strip": "binutils", "setpriv": "util-linux"}
_MANIFEST = "suite.json"
_FORMAT = "2"  # part of each key: increment it when the content of suites changes
_SELFTESTS = "tools/testing/selftests"
_PRINT = "kvmprobe-tests"
# Variables of the makefiles: programs that are run, and scripts that run programs.
_PROGRAMS = {Collection.KVM: "TEST_GEN_PROGS", Collection.X86: "TARGETS_C_64BIT_ALL"}
_SCRIPTS = {Collection.KVM: "TEST_PROGS", Collection.X86: ""}
_GOALS: dict[Collection, tuple[str, ...]] = {Collection.KVM: (), Collection.X86: ("all_64",)}
_ERROR = re.compile(r"(?:fatal )?error: (.*)")


@dataclass(frozen=True, slots=True)
class Suite:
    """A built suite in the cache.

    :ivar source: what it was built from
    """

    folder: Path
    source: Source
    tests: tuple[Selftest, ...]

    def program(self, test: Selftest) -> Path:
        """Return the program of a test that was built."""
        return self.folder / test.id


def ensure(source: Source, archives: Archives, progress: Progress) -> Suite:
    """Return the suite; build it if it is not in the cache, or damaged.

    :raises MissingTools: compiler or make is not installed
    :raises EmulatorBuildFailed: nothing can be built; the message has the path of the log
    :raises UsageError: the package has no source
    """
    build_step.require_tools(TOOLS, "building selftests")
    cache = archives.cache
    key = hashlib.sha256(f"{_FORMAT}\n{source.sha256}\n{_compiler()}".encode()).hexdigest()[:16]
    final = cache.root / "suites" / key
    if not is_whole(final):
        with cache.locked(f"selftests of {source.name}", progress):
            if not is_whole(final):
                with cache.scratch() as work:
                    progress.stage(f"selftests: unpack {source.name}")
                    tree = unpack(source, work)
                    log = build_step.BuildLog(
                        cache.folder("logs") / f"selftests-{key}.log", f"selftests of {source.name}"
                    )
                    cache.publish(_built(tree, work, log, progress), final)
    listed = json.loads((final / _MANIFEST).read_bytes())
    return Suite(final, source, from_json(tuple[Selftest, ...], listed, "$"))


def _compiler() -> str:
    return subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout


def _built(tree: Path, work: Path, log: build_step.BuildLog, progress: Progress) -> Path:
    log.start()
    progress.stage("selftests: headers for user space")
    build_step.run(["make", "-s", "ARCH=x86", "headers"], tree, log)
    result = work / "suite"
    result.mkdir()
    tests: list[Selftest] = []
    for collection in Collection:
        progress.stage(f"selftests: compile {collection.value}")
        tests += _build_collection(collection, tree, result, log)
    if all(test.problem for test in tests):
        raise log.failure("make")
    manifest = json.dumps(to_json(tuple[Selftest, ...], tuple(tests)), indent=1)
    (result / _MANIFEST).write_text(manifest, encoding="utf-8")
    seal(result)
    return result


def _build_collection(
    collection: Collection, tree: Path, result: Path, log: build_step.BuildLog
) -> list[Selftest]:
    directory = tree / _SELFTESTS / collection.value
    said: list[str] = []
    headers = f"KHDR_INCLUDES=-isystem {tree}/usr/include"
    make = ["make", "-k", f"-j{len(os.sched_getaffinity(0))}", "ARCH=x86", headers]
    # With -k, whatever can be built is built: each test is looked for.
    with contextlib.suppress(EmulatorBuildFailed):
        build_step.run([*make, *_GOALS[collection]], directory, log, on_line=said.append)
    tests = []
    for program in _listed(_PROGRAMS[collection], directory):
        path = directory / (f"{program}_64" if collection is Collection.X86 else program)
        problem = "" if path.is_file() else f"not built: {_why_not(program, said)}"
        test = Selftest(collection, path.name, problem)
        if not problem:
            build_step.run(["strip", "--strip-debug", "-o", result / test.id, path], directory, log)
        tests.append(test)
    for script in _listed(_SCRIPTS[collection], directory):
        name = script.rpartition("/")[2]
        tests.append(Selftest(collection, name, "not run: a script, whose tools are not there"))
    return tests


def _listed(variable: str, directory: Path) -> list[str]:
    """Return the words of a makefile's variable, relative to the directory."""
    if not variable:
        return []
    rule = f'{_PRINT}: ; @printf "%s\\n" $({variable})'
    printed = subprocess.run(
        ["make", "-s", "ARCH=x86", "--eval", rule, _PRINT],
        cwd=directory, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    words = (word.removeprefix(f"{directory}/") for word in printed.split())
    return list(dict.fromkeys(words))


def _why_not(program: str, said: list[str]) -> str:
    """Return what the compiler said of a program's file, or of the first one that failed."""
    errors = [(line, found[1]) for line in said if (found := _ERROR.search(line))]
    stem = program.rpartition("/")[2]
    own = [text for line, text in errors if f"/{stem}.c:" in line or line.startswith(f"{stem}.c:")]
    others = [text for _, text in errors]
    return next(iter((*own, *others)), "see the log of the build")
