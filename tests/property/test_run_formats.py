"""Laws of the formats for all texts: nothing that a target says can break one."""

import json
import re
from xml.etree import ElementTree as ET

from hypothesis import given
from kcidb_io.schema import V5_0

from kvmprobe.reports.diff import diff_lines, diff_markdown
from kvmprobe.reports.formats.jsonl import lines
from kvmprobe.reports.formats.junit import junit
from kvmprobe.reports.formats.kcidb import kcidb
from kvmprobe.reports.formats.ktap import ktap
from kvmprobe.results.comparison import compare
from kvmprobe.results.record_json import record_from_json, record_to_json
from tests.property.records import RECORDS, RUNS


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
    printed = ktap([run]).removesuffix("\n").split("\n")
    assert all(
        re.fullmatch(r" *(KTAP version 1|1\.\.\d+|(not )?ok \d+ .*|#.*)", t) for t in printed
    )
    leaves = [t for t in printed if re.match(r"    (not )?ok ", t)]
    assert len(leaves) == len(run.records) + len(run.missing)


@given(RUNS)
def test_kcidb_takes_it(run):
    V5_0.validate(json.loads(kcidb([run])))


@given(RUNS)
def test_json_lines_have_no_other_line_ends(run):
    printed = lines([run])
    assert printed.isascii()
    assert len(printed.splitlines()) == len(run.records) + 2


@given(RUNS, RUNS)
def test_a_difference_has_only_printable_lines(before, after):
    for render in (diff_lines, diff_markdown):
        assert all(line.isprintable() for line in render(compare(before, after)))


@given(RUNS)
def test_a_run_has_not_changed_from_itself(run):
    compared = compare(run, run)
    assert not compared.regressed
