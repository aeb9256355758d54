"""``known_defects.toml`` against the model's behaviours."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from importlib.resources import files

import pytest

from kvmprobe.model.behaviours import DEFECTS, Behaviour, Kind
from kvmprobe.results.known import KnownDefect

TEXT = (files("kvmprobe.results") / "known_defects.toml").read_text(encoding="utf-8")
ENTRIES = tomllib.loads(TEXT)["defect"]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e["id"])


@each_entry
def test_an_entry_has_exactly_the_known_fields(entry):
    assert entry.keys() | {"cve"} == {f.name for f in fields(KnownDefect)}


@each_entry
def test_an_entry_is_about_a_defect(entry):
    assert Behaviour[entry["behaviour"]].kind is Kind.DEFECT


@each_entry
def test_an_id_is_a_letter_and_a_number(entry):
    assert re.fullmatch(r"[A-Z]\d+", entry["id"])


@each_entry
def test_a_fixed_defect_says_where_and_an_open_one_does_not(entry):
    assert entry["status"] in {"fixed", "open"}
    assert bool(entry["fixed_in"]) == (entry["status"] == "fixed")


@each_entry
def test_a_fixed_defect_names_its_commit_with_subject(entry):
    # 12 digits and the subject: Documentation/process/submitting-patches.rst
    pattern = r'Linux commit [0-9a-f]{12} \("[^"]+"\)'
    assert entry["status"] == "open" or re.search(pattern, entry["reference"])


@each_entry
def test_a_title_is_one_line(entry):
    assert entry["title"].splitlines() == [entry["title"]]


def test_every_defect_has_exactly_one_entry():
    assert sorted(e["behaviour"] for e in ENTRIES) == sorted(d.name for d in DEFECTS)


def test_no_id_occurs_twice():
    assert len({e["id"] for e in ENTRIES}) == len(ENTRIES)
