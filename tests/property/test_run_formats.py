"""Laws of the formats for all texts: nothing that a target says can break one."""

import json
import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from kcidb_io.schema import V5_0

from kvmprobe.model.rule import Rule
from kvmprobe.reports.diff import diff_lines, diff_markdown
from kvmprobe.reports.formats.jsonl import lines
from kvmprobe.reports.formats.junit import junit
from kvmprobe.reports.formats.kcidb import kcidb
from kvmprobe.reports.formats.ktap import ktap
from kvmprobe.results.claim import Claim
from kvmprobe.results.comparison import compare
from kvmprobe.results.difference import (
    HostSurvives,
    ImageDiffers,
    KernelWarns,
    ResultDiffers,
    RunOfBytes,
    ValuesDiffer,
)
from kvmprobe.results.hang import Hang, HungTask
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Divergence,
    Finding,
    ReadingsDiffer,
    ScenarioRecord,
    Statement,
    StepRecord,
    Target,
)
from kvmprobe.results.record_json import record_from_json, record_to_json
from kvmprobe.results.run_document import Ending, RunDocument
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.lifecycle import CreateVm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from tests.support import runs

# What JSON can hold: lone surrogates, too.
TEXTS = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["ok 1 x # SKIP", "]]>", "\x1b[0m", "\ud800", "# Subtest: x", "KTAP version 1", "1..2"]
)
STEPS = st.integers(0, 99)
KNOWN = st.lists(st.sampled_from(["O1", "B1", "O3"]), unique=True, max_size=2).map(tuple)
DETAILS = st.lists(TEXTS, max_size=2).map(tuple)
# Few names, so that several calls of a step have the same.
VALUES = st.dictionaries(TEXTS | st.sampled_from(["XCR0", "XFD"]), st.integers(), max_size=3)
OPS = st.sampled_from([CreateVm(), GetXsave2(), RunUntilHalt(), SetXfd(1 << 18), SetXsave(0x60000)])
CALLS = st.builds(CallRecord, OPS, st.integers(), VALUES, VALUES, VALUES)
RULES = st.builds(Rule, TEXTS, DETAILS, st.just(runs.RULE.sources))
RUNS_OF_BYTES = st.builds(
    RunOfBytes, TEXTS, STEPS, STEPS, st.binary(max_size=4), st.binary(max_size=4)
)
DIFFERENCES = st.one_of(
    st.builds(KernelWarns, TEXTS),
    st.builds(HostSurvives, TEXTS, st.integers()),
    st.builds(ResultDiffers, st.none() | st.integers(), st.integers()),
    st.builds(ValuesDiffer, VALUES, VALUES),
    st.builds(ImageDiffers, STEPS, STEPS, STEPS, st.lists(RUNS_OF_BYTES, max_size=2).map(tuple)),
)
STATEMENTS = st.builds(
    Statement,
    st.just(Claim.SET_AND_GET),
    st.fixed_dictionaries({"accepted": STEPS, "read": STEPS, "register": TEXTS}),
    st.lists(OPS, max_size=2).map(tuple),
)
TASKS = st.lists(
    st.builds(HungTask, STEPS, STEPS, TEXTS, TEXTS, TEXTS, TEXTS, DETAILS), max_size=1
).map(tuple)
# Few, so that two runs often have the same scenario.
IDS = [f"{family}.{rest}" for family in ("restore", "kick") for rest in ("a", "B_-9", "c.x", "c.y")]
    f"{family}.{rest}" for family in ("restore", "kick") for rest in ("a", "B_-9", "c.x", "c.y1")
]
RECORDS = st.builds(
    ScenarioRecord,
    id=st.sampled_from(IDS),
    row=st.just(""),
    column=st.just(""),
    target=st.builds(Target, st.sampled_from(["host", "lab"]), TEXTS, TEXTS),
    verdict=st.sampled_from(Verdict),
    reason=TEXTS,
    steps=st.lists(
        st.builds(StepRecord, st.lists(CALLS, max_size=3).map(tuple), DETAILS),
        max_size=2,
    ).map(tuple),
    divergences=st.lists(
        st.builds(Divergence, STEPS, st.none() | OPS, st.none() | OPS, DIFFERENCES, RULES),
        max_size=2,
    ).map(tuple),
    findings=st.lists(
        st.builds(
            Finding,
            *(TEXTS, TEXTS, STEPS, STATEMENTS),
            st.lists(STATEMENTS | st.builds(ReadingsDiffer, OPS, DIFFERENCES), max_size=2).map(
                tuple
            ),
            *(TEXTS, KNOWN),
        ),
        max_size=1,
    ).map(tuple),
    known=KNOWN,
    expected_defects=KNOWN,
    crash=st.none() | st.builds(Crash, STEPS, st.none() | OPS, TEXTS, TEXTS, DETAILS, TEXTS, TEXTS),
    hang=st.none() | st.builds(Hang, TASKS, TASKS, DETAILS, STEPS, st.none() | OPS),
    duration=st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
)
RUNS = st.builds(
    RunDocument,
    tool=TEXTS,
    command=DETAILS,
    records=st.lists(RECORDS, max_size=4, unique_by=lambda r: r.id).map(tuple),
    not_completed=st.lists(st.just("xsave.a"), max_size=1).map(tuple),
    ending=st.sampled_from(Ending),
)


@given(RECORDS)
def test_a_record_read_back_is_written_as_before(record):
    data = json.loads(json.dumps(record_to_json(record)))
    assert json.loads(json.dumps(record_to_json(record_from_json(data)))) == data


@given(RECORDS)
def test_no_call_of_a_step_loses_anything(record):
    data = json.loads(json.dumps(record_to_json(record)))
    assert record_from_json(data).steps == record.steps


@given(RUNS)
def test_junit_is_xml_with_a_case_for_each_scenario(run):
    suites = ET.fromstring(junit([run]).encode())  # noqa: S314 - our own
    cases = [case.get("name") for case in suites.iter("testcase")]
    assert sorted(cases) == sorted([*(r.id for r in run.records), *run.missing])


@given(RUNS)
def test_ktap_has_only_its_lines_and_one_result_for_each_scenario(run):
    told = ktap([run]).removesuffix("\n").split("\n")
    assert all(re.fullmatch(r" *(KTAP version 1|1\.\.\d+|(not )?ok \d+ .*|#.*)", t) for t in told)
    leaves = [t for t in told if re.match(r"    (not )?ok ", t)]
    assert len(leaves) == len(run.records) + len(run.missing)


@given(RUNS)
def test_kcidb_takes_it(run):
    V5_0.validate(json.loads(kcidb([run])))


@given(RUNS)
def test_json_lines_have_no_other_line_ends(run):
    told = lines([run])
    assert told.isascii()
    assert len(told.splitlines()) == len(run.records) + 2


@given(RUNS, RUNS)
def test_a_difference_has_only_printable_lines(before, after):
    for render in (diff_lines, diff_markdown):
        assert all(line.isprintable() for line in render(compare(before, after)))


@given(RUNS)
def test_a_run_has_not_changed_from_itself(run):
    compared = compare(run, run)
    assert not compared.regressed
