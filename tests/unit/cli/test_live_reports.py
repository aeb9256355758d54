"""Reports that are written while a run goes on."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kvmprobe import __version__
from kvmprobe.cli.live_reports import LiveReports, ReportFile
from kvmprobe.errors import ReportFileError
from kvmprobe.reports.formats import format_of, names
from kvmprobe.results.run_document import Ending, RunDocument
from tests.support.runs import EVERY, EVERY_VERDICT, MISSING

COMMAND = ("kvmprobe", "run")
TOOL = f"kvmprobe {__version__}"
BEGUN = RunDocument(TOOL, COMMAND, run_id="1f2e", environments={})


def reports(tmp_path, planned):
    files = [ReportFile(known, tmp_path / known) for known in names()]
    return LiveReports(files, BEGUN, planned)


@pytest.mark.parametrize("wanted", names())
def test_a_live_report_is_that_of_the_finished_run(wanted, tmp_path):
    live = reports(tmp_path, EVERY.planned)
    for record in EVERY_VERDICT:
        live.add(record)
    live.finish(Ending.COMPLETE)
    run = replace(BEGUN, records=EVERY_VERDICT)
    assert (tmp_path / wanted).read_text() == format_of(wanted).render([run])


@pytest.mark.parametrize("wanted", ["junit", "kcidb", "jsonl"])
def test_an_interrupted_run_tells_what_is_missing(wanted, tmp_path):
    live = reports(tmp_path, [*EVERY.planned, *MISSING])
    for record in EVERY_VERDICT:
        live.add(record)
    live.finish(Ending.CUT_SHORT)
    run = replace(BEGUN, records=EVERY_VERDICT, not_completed=MISSING, ending=Ending.CUT_SHORT)
    assert (tmp_path / wanted).read_text() == format_of(wanted).render([run])


@pytest.mark.parametrize("wanted", ["ktap", "jsonl"])
def test_what_was_recorded_is_in_the_file_at_once(wanted, tmp_path):
    live = reports(tmp_path, ["restore.a.x", "kick.a"])
    live.add(EVERY_VERDICT[0])
    assert "restore.a.x" in (tmp_path / wanted).read_text()
    live.finish(Ending.CUT_SHORT)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_told_as_such():
    with pytest.raises(ReportFileError, match="No space left on device"):
        LiveReports([ReportFile("ktap", Path("/dev/full"))], BEGUN, [])


def test_no_descriptor_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    reports(tmp_path, []).finish(Ending.COMPLETE)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
