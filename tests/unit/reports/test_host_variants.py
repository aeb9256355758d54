"""Every report names the options of an emulated host that is not the default one."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from kvmprobe.reports.bug_report.kernels import kernel_lines
from kvmprobe.reports.bug_report.mail import report
from kvmprobe.reports.console import show
from kvmprobe.reports.diff import diff_lines
from kvmprobe.reports.formats import format_of, names
from kvmprobe.reports.formats.jsonl import lines
from kvmprobe.reports.html_report.columns import columns_of
from kvmprobe.results.comparison import compare
from kvmprobe.results.host_variant import HostVariant
from kvmprobe.results.lines_schema import lines_schema
from kvmprobe.results.record_json import record_from_json, record_to_json
from kvmprobe.results.run_document import read_run
from tests.support.cases import O2, OPEN, fail, run_on
from tests.support.runs import OLD, diverged, passed, run_of_records, written

NOPKU = replace(OLD, variant=HostVariant("nopku"))
OPTIONS = "6.12.43 --append nopku"
DEFAULT = run_of_records(diverged("restore.a.x"))
VARIANT = run_of_records(diverged("restore.a.x", target=NOPKU), passed("restore.b.x", NOPKU))
BAD = run_on("7.3.4", *OPEN)


def on_nopku(run):
    records = tuple(
        replace(r, target=replace(r.target, variant=HostVariant("nopku"))) for r in run.records
    )
    return replace(run, records=records)


def test_the_terminal_names_them():
    text = StringIO()
    show(Console(file=text, width=300), VARIANT.records, 1.0)
    assert f"emulated host, {OPTIONS} (" in text.getvalue()


@pytest.mark.parametrize("name", names())
def test_a_report_names_them(name):
    assert "nopku" in format_of(name).render([VARIANT])


def test_two_hosts_with_one_kernel_are_two_columns_with_their_options():
    labels = [column.label for column in columns_of([DEFAULT, VARIANT])]
    assert labels == ["6.12.43", OPTIONS]


def test_a_comparison_names_them():
    before, after, *_ = diff_lines(compare(DEFAULT, VARIANT))
    assert ("nopku" in before, f"emulated host, {OPTIONS} (" in after) == (False, True)


def test_a_document_is_read_back_with_them(tmp_path):
    assert read_run(written(tmp_path / "run.json", VARIANT)).targets == [NOPKU]


def test_lines_are_read_back_with_them(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text(lines([VARIANT]))
    assert read_run(path).targets == [NOPKU]


def test_lines_follow_the_schema():
    for line in lines([VARIANT]).splitlines():
        Draft202012Validator(lines_schema()).validate(json.loads(line))


def test_a_record_of_the_default_host_does_not_have_the_member():
    assert "variant" not in record_to_json(DEFAULT.records[0])


def test_a_record_is_read_back_with_them():
    record = VARIANT.records[0]
    assert record_from_json(record_to_json(record), OLD.source) == record


def test_a_bug_report_names_them():
    text = " ".join(report(fail(O2, on_nopku(BAD)), None).split())
    assert "options of the emulated host: --append nopku" in text


def test_a_default_host_that_behaves_is_no_last_good_kernel_of_the_variant():
    found = kernel_lines(fail(O2, on_nopku(BAD), run_on("7.3.1")))
    assert not [line for line in found if "Regression" in line]


def test_one_kernel_on_two_hosts_is_named_twice():
    (affected, *_) = kernel_lines(fail(O2, BAD, on_nopku(BAD)))
    assert affected.strip() == "affected (emulated host): 7.3.4, 7.3.4 --append nopku"
