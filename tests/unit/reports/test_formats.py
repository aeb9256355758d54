"""The registry of report formats: a format is one file."""

import pytest

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.reports import formats
from kvmprobe.reports.formats import described, format_of, names
from tests.support.runs import EVERY

_MODULE = """
from kvmprobe.reports.report_format import ReportFormat

FORMAT = ReportFormat("how many records", lambda runs: f"{sum(len(r.records) for r in runs)}\\n")
"""


@pytest.fixture
def another(tmp_path, monkeypatch):
    (tmp_path / "count.py").write_text(_MODULE)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])


def test_a_new_file_is_a_new_format_of_all_commands(another):
    assert "count" in names()
    assert format_of("count").render([EVERY]) == f"{len(EVERY.records)}\n"
    words = ["report", "RUN", "--format", "count"]
    assert parser(words).parse_args(words).format == "count"
    words = ["run", "--report", "count=FILE"]
    assert parser(words).parse_args(words).report[0].format == "count"
    assert "  count  how many records\n" in described()


@pytest.mark.parametrize("name", names())
def test_a_summary_fits_the_help(name):
    # man(1) indents by 7 columns, the help by 9
    assert all(len(line) <= 64 for line in format_of(name).summary.splitlines())
