"""Laws of the formats for all texts: nothing that a target says can break one."""

import json
import re
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from kcidb_io.schema import V5_3

from kvmprobe.reports.diff import diff_lines, diff_markdown
from kvmprobe.reports.formats.jsonl import lines
from kvmprobe.reports.formats.junit import junit
from kvmprobe.reports.formats.kcidb import kcidb
from kvmprobe.reports.formats.ktap import ktap
from kvmprobe.results.comparison import Change, compare
from kvmprobe.results.record_json import record_from_json, record_to_json
from tests.property.records import RECORDS, RUNS


@given(RECORDS)
def test_a_record_read_back_is_written_as_before(record):
    data = json.loads(json.dumps(record_to_json(record)))
    read = record_from_json(data)
    assert read.steps == record.steps
    assert json.loads(json.dumps(record_to_json(read))) == data


@settings(max_examples=50)
@given(RUNS, RUNS)
def test_no_run_breaks_a_format(one, other):
    """Making the runs costs most, so the formats share them; Hypothesis reports all that fail."""
    for run in (one, other):
        _junit_is_xml_with_a_case_for_each_scenario(run)
        _ktap_has_only_its_lines_and_one_result_for_each_scenario(run)
        _kcidb_takes_it(run)
        _json_lines_have_no_other_line_ends(run)
        _a_run_has_not_changed_from_itself(run)
    _a_difference_has_only_printable_lines(one, other)
    _a_difference_has_only_printable_lines(other, one)


def _junit_is_xml_with_a_case_for_each_scenario(run):
    suites = ET.fromstring(junit([run]).encode())  # noqa: S314 - our own
    cases = [case.get("name") for case in suites.iter("testcase")]
    assert sorted(cases) == sorted([*(r.id for r in run.records), *run.missing])


def _ktap_has_only_its_lines_and_one_result_for_each_scenario(run):
    printed = ktap([run]).removesuffix("\n").split("\n")
    assert all(
        re.fullmatch(r" *(KTAP version 1|1\.\.\d+|(not )?ok \d+ .*|#.*)", t) for t in printed
    )
    leaves = [t for t in printed if re.match(r"    (not )?ok ", t)]
    assert len(leaves) == len(run.records) + len(run.missing)


def _kcidb_takes_it(run):
    V5_3.validate(json.loads(kcidb([run])))


def _json_lines_have_no_other_line_ends(run):
    printed = lines([run])
    assert printed.isascii()
    assert len(printed.splitlines()) == len(run.records) + 2


def _a_difference_has_only_printable_lines(before, after):
    for render in (diff_lines, diff_markdown):
        assert all(line.isprintable() for line in render(compare(before, after)))


def _a_run_has_not_changed_from_itself(run):
    assert {scenario.change for scenario in compare(run, run).scenarios} <= {Change.UNCHANGED}
