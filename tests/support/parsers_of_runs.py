"""Parsers of what runs leave: directories, documents, coverage, results of workers, the cache."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING

import zstandard

from kvmprobe.coverage.coverage_file import read_file, to_text
from kvmprobe.coverage.functions import KernelFunctions
from kvmprobe.coverage.of_run import coverage_of_directory
from kvmprobe.coverage.reached import pack
from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.fleet.parcel import unpack
from kvmprobe.lab import kernel_store
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.saved import SavedTemplate
from kvmprobe.reports.diff import diff_lines
from kvmprobe.reports.explored import explored_lines
from kvmprobe.reports.formats.html import html
from kvmprobe.reports.formats.jsonl import lines
from kvmprobe.reports.formats.junit import junit
from kvmprobe.reports.formats.kcidb import kcidb
from kvmprobe.reports.formats.ktap import ktap
from kvmprobe.results.comparison import compare
from kvmprobe.results.index import Index
from kvmprobe.results.matrix import PLAN, runs_in
from kvmprobe.results.record import Target
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_document import read_run
from kvmprobe.results.schema import JOURNAL, RUN
from kvmprobe.search.atlas import Atlas
from kvmprobe.search.explored import Explored, Find, Level, together
from tests.support.parser import Parser, in_file
from tests.support.runs import EVERY

if TYPE_CHECKING:
    from pathlib import Path

_TARGET = {"kind": "lab", "kernel": "7.3.4", "source": "x"}
_BEGIN = {
    "type": "begin",
    "schema": JOURNAL,
    "run_id": "3b0c0f5e",
    "tool": "kvmprobe 0.1.0",
    "command": ["kvmprobe", "run"],
    "argv": ["replay"],
    "directory": "/",
    "boot_id": "b",
    "time": "2026-01-01T00:00:00Z",
}
_POINT = {"seconds": 1.5, "sequences": 64, "calls": 1300, "transitions": 500, "blocks": 2000}
_FACTS = b'{"kernel": {"release": "7.3.4"}, "cpu": {"signature": 526584}, "settings": {"a": 1}}'
_FUNCTIONS = json.dumps(
    {
        **KernelFunctions((), {}, {}).to_json(),
        "functions": [["kvm", "f", 4096, "VUiJ5ZBdww=="]],
        "names": {"1000": "f"},
        "modules": {"kvm": 0},
    }
).encode()


def _name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entries() -> list[dict]:
    """The journal of a run with an entry of each type."""
    records = [record_to_json(record) for record in EVERY.records]
    planned = [record["id"] for record in records]
    return [
        {**_BEGIN, "planned": planned},
        {"type": "place", "target": _TARGET, "real": False, "facts": _name(_FACTS)},
        {"type": "watched", "functions": _name(_FUNCTIONS)},
        {"type": "intent", "batch": 1, "scenarios": planned, "goes_on": False},
        {"type": "held", "record": records[0], "before": None},
        {"type": "growth", "strategy": "guided", "point": _POINT},
        {"type": "reached", "scenario": planned[0], "blocks": pack(b"\1")},
        *({"type": "result", "record": record} for record in records),
        {"type": "lost", "scenarios": [planned[0]], "where": "w"},
        {"type": "end", "complete": True, "not_completed": [], "notes": ["n"], "time": "t"},
    ]


def _journals() -> list[bytes]:
    every = entries()
    few = [entry for entry in every if entry["type"] not in {"held", "reached", "watched", "lost"}]
    return ["".join(f"{json.dumps(entry)}\n" for entry in kept).encode() for kept in (every, few)]


def _read_journal(content: bytes, folder: Path) -> object:
    run = folder / "runs" / "one"
    run.mkdir(parents=True)
    (run / "journal.jsonl").write_bytes(content)
    for kept in (_FACTS, _FUNCTIONS):
        file = run / "payloads" / _name(kept)[:2] / _name(kept)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(kept)
    with Index(folder / "runs") as index:
        index.refresh()
        list(index.records())
        index.runs()
    found = _shown(run)
    coverage_of_directory(run)
    return found


def _shown(path: Path) -> object:
    run = read_run(path)
    return (
        [
            form([run]).encode("utf-8", "backslashreplace")  # as `kvmprobe report` writes it
            for form in (html, lines, junit, kcidb, ktap)
        ],
        list(diff_lines(compare(run, run))),
    )


@cache
def _documents() -> list[bytes]:
    document = {
        "schema": RUN,
        "tool": "kvmprobe 0.1.0",
        "command": ["kvmprobe", "run"],
        "targets": [_TARGET],
        "scenarios": [record_to_json(record) for record in EVERY.records],
        "summary": {"complete": True, "not_completed": []},
    }
    return [lines([EVERY]).encode(), json.dumps(document).encode()]


def _atlases() -> list[bytes]:
    cell = {
        "one": "a",
        "other": "b",
        "order": "both orders return and leave the same",
        "start": "s",
        "orders": [{"first": "a", "second": "b", "results": [0, -22], "crash": ""}],
        "differs": ["x"],
        "known": ["B1"],
    }
    atlas = {
        "format": "kvmprobe atlas 1",
        "kernel": "7.3.4",
        "calls": {"a": "A", "b": "B"},
        "starts": {"s": ["c"]},
        "cells": [cell],
        "seconds": 1.5,
    }
    return [json.dumps(atlas).encode()]


def _coverage() -> list[bytes]:
    functions = KernelFunctions.from_json(json.loads(_FUNCTIONS))
    return [to_text(Target("lab", "7.3.4", "x"), functions, "program", b"\1").encode()]


def _parcels() -> list[bytes]:
    ending = {"worker": "w", "address": "tls://10.0.0.7:1", "open": ["a.b"]}
    files = {"finds/crash-1/find.txt": "crash"}
    data = {"ending": ending, "entries": entries(), "payloads": {}, "files": files}
    return [json.dumps(data).encode()]


def _read_parcel(content: bytes, _folder: Path) -> object:
    """What is compressed is damaged; a damaged frame of zstd is refused by zstd."""
    return unpack(zstandard.compress(content))


def _explored() -> list[bytes]:
    level = Level(0, 1, 2, 2, 0.5)
    find = Find("explore.0.x", "x", ("O2",), 2)
    calls, never = ("KVM_SET_XCRS",), {"KVM_RUN": "no"}
    seen = Explored("7.3.4", "vcpu", 1, 2, calls, (level,), never, 0, 0, 3, 0, 0.5, True, (find,))
    return [seen.to_json().encode()]


def _read_explored(content: bytes, _folder: Path) -> object:
    return explored_lines(together([Explored.of(content.decode("utf-8", "replace"))]))


def _matrices() -> list[bytes]:
    kernels = [{"spec": "7.3.4", "folder": "7.3.4"}, {"spec": "6.12", "folder": "6.12~1"}]
    matrix = {"argv": ["matrix"], "directory": "/", "kernels": kernels}
    return [json.dumps({"schema": "kvmprobe-matrix/1", "matrix": matrix}).encode()]


def _read_matrix(content: bytes, folder: Path) -> object:
    (folder / PLAN).write_bytes(content)
    (folder / "7.3.4").mkdir()
    (folder / "7.3.4" / "journal.jsonl").touch()
    found = runs_in(folder)
    assert {run.resolve().parent for run in found} <= {folder.resolve()}
    return found


def _manifests() -> list[bytes]:
    kernel = {
        "release": "7.3.4",
        "label": "7.3.4",
        "source": "x",
        "modules": ["kvm.ko"],
        "disk_modules": [],
        "files": {"vmlinuz": "0" * 64},
    }
    template = {
        "schema": "kvmprobe-template/2",
        "booted": {"greeting": "{}", "modules": {"kvm": "0x1000"}},
        "files": {},
    }
    memory = {"code": "", "recorded": {}}
    return [json.dumps(manifest).encode() for manifest in (kernel, template, memory)]


def _read_manifest(content: bytes, folder: Path) -> object:
    """One file as each of those that the cache has."""
    cache = Cache(folder)
    for name in ("kernels/k/kernel.json", "templates/t/template.json", "templates/t.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    template = SavedTemplate(cache, "t", "cpu: x", 256)
    return (
        template.recall(),
        template.booted(),
        kernel_store.load(cache, "k"),
        list(kernel_store.every(cache)),
        kernel_store.entries(cache),
        kernel_store.labels(cache),
    )


def _read_atlas(content: bytes, folder: Path) -> object:
    (folder / "atlas.json").write_bytes(content)
    return Atlas.read(folder).to_json()


PARSERS = (
    Parser("run directory", _journals, _read_journal, (UsageError, ScenarioError)),
    Parser("run document", _documents, in_file(_shown, "run.json"), (UsageError, ScenarioError)),
    Parser("worker result", _parcels, _read_parcel, (ScenarioError,)),
    Parser("explored part", _explored, _read_explored, (ScenarioError,)),
    Parser("matrix", _matrices, _read_matrix, (UsageError,)),
    Parser("coverage file", _coverage, in_file(read_file, "c.json"), (ScenarioError,)),
    Parser("atlas", _atlases, _read_atlas, (UsageError,)),
    Parser("cache manifest", _manifests, _read_manifest, ()),
)
