"""The second model against what real kernels answered, and against the first model there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.execution.preflight import profile_of
from kvmprobe.results.known import known_defects
from kvmprobe.results.transcript import Transcript
from kvmprobe.scenarios.model_run import ModelRuns
from tests.opinion.agreement import (
    FIRST_MODEL,
    Comparison,
    with_first_model,
    with_kernel,
    without_contest,
)
from tests.opinion.answer import Topic
from tests.opinion.entries import SIDES, entries, without_entry

FOLDER = Path(__file__).parent.parent / "transcripts"
FILES = sorted(FOLDER.glob("*.xz"))
DOCUMENTS, RANDOM = "7.3.4-documents", "7.3.4-random"
# Of results and parts of outputs, by topic; the transcripts have a tenth more.
AT_LEAST = {
    Topic.XCR0: 34_000,
    Topic.XFD: 32_500,
    Topic.PERMISSION: 9_900,
    Topic.XSTATE: 144_000,
    Topic.PKRU: 9_400,
    Topic.MXCSR: 9_500,
}
# It has no AMX and no PKRU, so fewer scenarios run there.
AT_LEAST_ON_HOST = {
    Topic.XCR0: 8_000,
    Topic.XFD: 8_000,
    Topic.PERMISSION: 5_700,
    Topic.XSTATE: 41_000,
    Topic.MXCSR: 2_800,
}
AT_LEAST_AT_RANDOM = {
    Topic.XCR0: 750,
    Topic.XFD: 1_200,
    Topic.PERMISSION: 5_200,
    Topic.XSTATE: 5_400,
    Topic.PKRU: 330,
    Topic.MXCSR: 270,
}
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@cache
def read(path):
    return Transcript.from_bytes(path.read_bytes())


@cache
def against_kernel(path):
    transcript, comparison = read(path), Comparison()
    host = profile_of(transcript.facts)
    for entry in transcript.entries:
        with_kernel(path.stem, host, entry, comparison)
    return comparison


def least(name):
    special = {RANDOM: AT_LEAST_AT_RANDOM, "host": AT_LEAST_ON_HOST}
    return {} if name.endswith("-documents") else special.get(name, AT_LEAST)


def short(compared, wanted):
    return [topic for topic, count in wanted.items() if compared[topic] < count]


@each_file
def test_each_disagreement_with_a_kernel_has_an_entry(path):
    assert [str(one) for one in without_entry(against_kernel(path).found)] == []


@each_file
def test_enough_was_compared_with_a_kernel(path):
    # A model without opinions agrees with everything.
    assert short(against_kernel(path).compared, least(path.stem)) == []


@each_file
def test_no_entry_is_stale(path):
    found = against_kernel(path).found
    about = [entry for entry in entries() if path.stem in entry.against]
    assert [stale for entry in about for stale in entry.stale(found, path.stem)] == []


def test_each_entry_is_about_a_transcript_or_the_first_model():
    names = {path.stem for path in FILES} | {FIRST_MODEL}
    assert [entry for entry in entries() if not names >= set(entry.against)] == []


def test_each_entry_says_who_is_right_and_why():
    assert {entry.right for entry in entries()} <= SIDES
    assert [entry for entry in entries() if not (entry.reason.strip() and entry.source)] == []


def test_each_entry_names_a_known_defect_or_scenarios():
    known = {defect.id for defect in known_defects().values()}
    named = {entry.defect for entry in entries()} - {""}
    assert named <= known
    assert [e for e in entries() if bool(e.defect) == bool(e.scenarios)] == []


@cache
def against_first_model(name):
    transcript, comparison = read(FOLDER / f"{name}.xz"), Comparison()
    model_run = ModelRuns(profile_of(transcript.facts)).with_defects()
    for entry in transcript.entries:
        judged = steps_of(entry, model_run)
        with_first_model(model_run.host, judged, comparison, entry.scenario.id)
    return comparison


def steps_of(entry, model_run):
    """The calls that the kernel answered, as far as a correct kernel gets; some need a defect."""
    machine = model_run.start
    for step in entry.scenario.steps[: len(entry.trace.steps)]:
        for op in step.ops:
            try:
                expected = model_run.step(machine, op)
            except NotModelled:
                return
            machine = expected.machine
            yield op, expected


each_host = pytest.mark.parametrize("name", [DOCUMENTS, "7.3.4", "host"])


@each_host
def test_both_models_agree_in_the_scenarios_of_transcripts(name):
    assert [str(one) for one in without_entry(against_first_model(name).found)] == []


@each_host
def test_enough_was_compared_with_the_first_model(name):
    comparison = against_first_model(name)
    assert short(comparison.compared, least(name)) == []


@each_host
def test_the_first_model_has_an_opinion_too(name):
    comparison = against_first_model(name)
    assert without_contest(comparison) == []


def test_the_second_model_imports_nothing_of_the_first():
    # The reply's type, host profiles as data, layouts and numbers are not rules.
    allowed = r"kvmprobe\.(abi|results\.trace|scenarios\.calls|xstate)\b"
    rules = ("answer", "guest_code", "images", "permissions", "reader", "registers", "sdm", "state")
    imported = {
        (name, line)
        for name in rules
        for line in (Path(__file__).parent / f"{name}.py")
        .read_text()
        .split("if TYPE_CHECKING")[0]
        .splitlines()
        if line.startswith("from kvmprobe")
    }
    assert [found for found in imported if not re.match(f"from {allowed}", found[1])] == []
