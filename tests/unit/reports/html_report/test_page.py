"""The page as text: whole, closed to the outside, and free of what a target could smuggle in."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.formats import format_of
from kvmprobe.reports.html_report.page import page
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import KernelWarns
from kvmprobe.results.growth import Growth, Point, Strategy
from kvmprobe.results.hang import Hang, HungTask
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Finding,
    ScenarioRecord,
    Statement,
    StepRecord,
    Target,
)
from kvmprobe.results.record_json import record_from_json, record_to_json
from kvmprobe.results.run_document import Ending, RunDocument
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from tests.support.fake_runs import run_of, some_scenarios
from tests.support.runs import EVERY, O1_DIVERGENCE

HOSTILE = (
    "</script><script>alert(1)</script><!-- \u2028\u2029 ' \" & {{ 7 * 7 }} "
    "<img src=x onerror=alert(2)>"
)
TARGET = Target("lab", "7.3.4", "linux-image 7.3.4-1")


def record(scenario="restore.a.b", verdict=Verdict.PASS, **fields):
    return ScenarioRecord(scenario, "a", "b", TARGET, verdict, **fields)


def document(*records, **fields):
    return RunDocument("kvmprobe 0", ("kvmprobe", "run"), records, name="run.json", **fields)


class _Elements(HTMLParser):
    """What elements a browser would find, with their attributes and the texts right in them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        self.found.append((f"/{tag}", {}, []))

    def handle_data(self, data):
        if self.found:
            self.found[-1][2].append(data)


def elements(text, tag):
    return [found for found in _Elements(text).found if found[0] == tag]


def data_of(text):
    (found,) = (e for e in elements(text, "script") if e[1].get("id") == "data")
    return json.loads("".join(found[2]))


HOSTILE_CLAIM = Statement(Claim.UNSTEADY, {"call": HOSTILE})


@pytest.fixture(scope="module")
def hostile():
    """A page in which every text that a target or a file could choose is hostile."""
    step = StepRecord((CallRecord(GetXcrs(), -22, {HOSTILE: 7}),), (HOSTILE,))
    everything = ScenarioRecord(
        "restore.a.b",
        "a",
        "b",
        Target("lab", HOSTILE, HOSTILE),
        Verdict.CRASHED,
        reason=HOSTILE,
        steps=(step,),
        divergences=(replace(O1_DIVERGENCE, difference=KernelWarns(HOSTILE)), O1_DIVERGENCE),
        findings=(Finding(HOSTILE, HOSTILE, 0, HOSTILE_CLAIM, (HOSTILE_CLAIM,), HOSTILE),),
        crash=Crash(1, None, HOSTILE, HOSTILE, (HOSTILE,), f"{HOSTILE}\n{HOSTILE}", HOSTILE),
        hang=Hang((HungTask(1, 1, *[HOSTILE] * 4, (HOSTILE,)),), (), (HOSTILE,), 1, None),
    )
    growth = {everything.target: Growth(Strategy.GUIDED, [Point(1.0, 64, 1200, 500)])}
    run = RunDocument(
        HOSTILE, (HOSTILE,), (everything,), (HOSTILE,), Ending.CUT_SHORT, HOSTILE, growth=growth
    )
    return page([run])


def test_hostile_text_makes_no_element(hostile):
    assert [attributes for _, attributes, _ in elements(hostile, "script")] == [
        {"type": "application/json", "id": "data"},
        {},
    ]
    assert elements(hostile, "img") == []


def members(data):
    """Yield container and key of each text in JSON."""
    inside = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in [*inside]:
        if isinstance(value, str):
            yield data, key
        elif isinstance(value, dict | list):
            yield from members(value)


def is_read(data):
    try:
        record_from_json(data)
    except (ScenarioError, ValueError):
        return False
    return True


def test_hostile_text_in_every_member_of_a_record_makes_no_element():
    # Whatever member takes any text gets it; the others are of the project.
    records, hostile_members = [], 0
    for record_of in EVERY.records:
        data = json.loads(json.dumps(record_to_json(record_of)))
        for inside, key in [*members(data)]:
            before = inside[key]
            inside[key] = f"{HOSTILE}{before}"
            if is_read(data):
                hostile_members += 1
            else:
                inside[key] = before
        records.append(record_from_json(data))
    text = page([document(*records, began=HOSTILE)])
    plain = page([document(*EVERY.records)])
    assert hostile_members > 100
    for tag in ("script", "img", "iframe", "style", "link", "base", "form"):
        assert len(elements(text, tag)) == len(elements(plain, tag)), tag
    attributes = {name for _, given, _ in _Elements(text).found for name in given}
    assert not any(name.startswith("on") for name in attributes)


def test_hostile_text_is_kept_as_it_was(hostile):
    # U+2028 and U+2029 end a console's line, as str.splitlines has it.
    assert HOSTILE in data_of(hostile)["texts"]


def test_the_data_hold_nothing_that_ends_or_opens_a_script_element(hostile):
    raw = re.search(r'<script type="application/json" id="data">(.*?)</script>', hostile, re.S)[1]
    assert not set("<>&'\u2028\u2029") & set(raw)


def test_hostile_text_is_no_template(hostile):
    assert "49" not in "".join(data_of(hostile)["texts"])


def test_the_policy_lets_only_the_pages_own_script_run(hostile):
    (policy,) = (e[1]["content"] for e in elements(hostile, "meta") if "http-equiv" in e[1])
    own = elements(hostile, "script")[-1][2]
    digest = base64.b64encode(hashlib.sha256("".join(own).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_nothing_is_fetched():
    text = page([document(record())])
    fetching = [a for _, a, _ in _Elements(text).found if {"src", "srcset", "data"} & a.keys()]
    assert fetching == []
    assert elements(text, "link") == []
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_a_search_has_pictures():
    growth = {TARGET: Growth(Strategy.GUIDED, [Point(1.0, 64, 1200, 500)])}
    text = page([document(growth=growth)])
    pictures = [a["aria-label"] for _, a, _ in elements(text, "svg") if "aria-label" in a]
    assert pictures == [
        f"transitions of the model by {across}; at the end run.json, guided search: 500"
        for across in ("seconds", "sequences")
    ]
    assert "a search keeps those of its finds alone" in text


def test_a_page_without_a_search_has_no_section_for_it():
    assert "growth-heading" not in page([document(record())])


def test_a_page_of_nothing_says_so():
    assert "No run has a record" in page([])


def test_a_run_that_was_cut_short_says_so_and_names_what_is_missing():
    cut = document(not_completed=("restore.x.y",), ending=Ending.CUT_SHORT)
    text = page([cut])
    assert "is not complete" in text
    assert "<li>restore.x.y</li>" in text


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_counted_and_listed(verdict):
    text = page([document(record(verdict=verdict))])
    data = data_of(text)
    (packed,) = data["records"][0]
    assert data["verdicts"][packed[0]]["name"] == verdict.value
    assert f'data-of="{verdict.value}">1</td>' in text


def test_what_passed_is_not_ticked_where_something_failed():
    text = page([document(record(), record("restore.a.c", Verdict.DIVERGED))])
    boxes = {a["value"]: "checked" in a for _, a, _ in elements(text, "input") if "value" in a}
    assert boxes == {"PASS": False, "DIVERGED": True}


def test_all_is_ticked_where_nothing_failed():
    text = page([document(record(), record("restore.a.c", Verdict.SKIPPED))])
    boxes = {a["value"]: "checked" in a for _, a, _ in elements(text, "input") if "value" in a}
    assert boxes == {"PASS": True, "SKIPPED": True}


def test_it_is_one_of_the_reports_formats():
    assert format_of("html").render([document(record())]).startswith("<!doctype html>")


def test_a_kernel_more_costs_little_where_it_answers_as_another_does():
    # The bound is 5 MiB for 1,000 scenarios on 12 kernels: 437 bytes a record.
    scenarios = some_scenarios(60)
    defects = (Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV)
    run = run_of("6.0.1", scenarios, *defects)
    others = [
        replace(
            run,
            name=f"{number}.json",
            records=tuple(
                replace(r, target=replace(r.target, kernel=f"6.{number}.1"), duration=number / 1000)
                for r in run.records
            ),
        )
        for number in range(12)
    ]
    alone = len(page([run]).encode())
    assert (len(page(others).encode()) - alone) / (11 * len(scenarios)) < 100
    assert alone / len(scenarios) < 437 * 12
