"""``known_defects.toml`` against the model's behaviours."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path

import pytest

from kvmprobe.cli.traits import catalogue
from kvmprobe.model.behaviours import DEFECTS, Behaviour, Kind
from kvmprobe.results.known import KnownDefect

ROOT = Path(__file__).parents[2]
TEXT = (files("kvmprobe.results") / "known_defects.toml").read_text(encoding="utf-8")
ENTRIES = tomllib.loads(TEXT)["defect"]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e["id"])


@each_entry
def test_an_entry_has_exactly_the_known_fields(entry):
    known = {f.name for f in fields(KnownDefect)}
    optional = {f.name for f in fields(KnownDefect) if f.default is not MISSING}
    assert known - optional <= entry.keys() <= known


@each_entry
def test_an_entry_is_about_a_defect(entry):
    assert Behaviour[entry["behaviour"]].kind is Kind.DEFECT


@each_entry
def test_an_id_is_a_letter_and_a_number(entry):
    assert re.fullmatch(r"[A-Z]\d+", entry["id"])


@each_entry
def test_a_fixed_defect_says_where_and_an_open_one_does_not(entry):
    assert entry["status"] in {"fixed", "open"}
    assert bool(entry.get("fixed_in")) == (entry["status"] == "fixed")


@each_entry
def test_a_fixed_defect_names_its_commit_with_subject(entry):
    # 12 digits and the subject: Documentation/process/submitting-patches.rst
    named = re.fullmatch("[0-9a-f]{12}", entry.get("commit", "")) and entry.get("commit_subject")
    assert bool(named) == (entry["status"] == "fixed")


@each_entry
def test_an_open_defect_says_what_is_thought_of_it(entry):
    assert bool(entry.get("note")) == (entry["status"] == "open")


@each_entry
def test_fixes_are_releases_and_what_lacks_them_are_series(entry):
    fixes, lacking = entry.get("fixed_in", []), entry.get("unfixed_series", [])
    assert all(re.fullmatch(r"\d+\.\d+(\.\d+)?", fix) for fix in fixes)
    assert all(re.fullmatch(r"\d+\.\d+\.y", series) for series in lacking)


@each_entry
def test_a_subject_fits_into_a_line_of_a_mail(entry):
    # Documentation/process/submitting-patches.rst: no more than 70 to 75 characters a line.
    assert len(f"Subject: {entry['subject']}") <= 75


@each_entry
def test_a_subject_begins_with_the_prefix_of_a_subsystem(entry):
    assert entry["subject"].startswith(("x86/fpu: ", "KVM: x86: ", "KVM: "))


@each_entry
def test_files_are_paths_in_the_kernels_source(entry):
    assert entry["files"]
    assert all(re.fullmatch(r"(arch/x86|virt/kvm)/[\w/]+\.c", path) for path in entry["files"])


@each_entry
def test_a_title_is_one_line(entry):
    assert entry["title"].splitlines() == [entry["title"]]


def test_every_defect_has_exactly_one_entry():
    assert sorted(e["behaviour"] for e in ENTRIES) == sorted(d.name for d in DEFECTS)


def test_no_id_occurs_twice():
    assert len({e["id"] for e in ENTRIES}) == len(ENTRIES)


@each_entry
def test_an_open_defect_says_whether_it_has_been_reported(entry):
    assert ("reported" in entry) == (entry["status"] == "open")


@each_entry
def test_an_unreported_host_panic_is_marked(entry):
    unreported = entry["status"] == "open" and not entry["reported"] and "panics_in" in entry
    text = TEXT.partition(f'id = "{entry["id"]}"')[2].partition("[[defect]]")[0]
    mark = 'reported = "" # not reported: do not publish this repository before it is\n'
    assert (mark in text) == unreported


UNREPORTED_PANICS = [
    entry for entry in ENTRIES if entry.get("panics_in") and entry.get("reported") == ""
]
SAMPLES = [ROOT / "README.md", ROOT / "kvmprobe" / "bindings" / "GUIDE.md"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("entry", UNREPORTED_PANICS, ids=lambda e: e["id"])
def test_no_sample_shows_an_unreported_host_panic(entry, sample):
    text = sample.read_text(encoding="utf-8")
    assert not re.search(rf"\b{entry['id']}\b", text)
    assert entry["behaviour"] not in text
    assert entry["title"] not in text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_no_sample_shows_a_scenario_that_such_a_panic_makes_fatal(sample):
    fatal = {entry["id"] for entry in UNREPORTED_PANICS}
    by_id = {traits.scenario.id: traits for traits in catalogue()}
    text = sample.read_text(encoding="utf-8")
    named = set(re.findall(r"[a-z]+(?:\.[A-Za-z0-9_-]+)+", text)) & by_id.keys()
    assert [name for name in named if fatal.intersection(by_id[name].hazard_ids)] == []
