"""``kvmprobe run --report`` on this host's /dev/kvm: to the end, interrupted, killed."""

import json
import re
import signal
import subprocess
import time

import pytest
import xmlschema
from jsonschema import Draft202012Validator
from kcidb_io.schema import V5_3

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.reports.formats import format_of, names
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import COMMAND
from tests.unit.reports.test_junit import SCHEMA as XUNIT2
from tests.unit.reports.test_lines import SCHEMA as LINES

pytestmark = pytest.mark.kvm
SELECTED = ("--select", "xsave.*", "--select", "xcrs.*")
SECONDS = 60


def command(tmp_path, *selected):
    reports = [f"--report={known}={tmp_path / known}" for known in names()]
    kept = ["--out", str(tmp_path / "run"), "--json", str(tmp_path / "run.json")]
    return ["run", "--target", "host", *selected, *kept, *reports]


def started(tmp_path):
    """Start a run of everything; return it when its first lines are there."""
    arguments = [*COMMAND, *command(tmp_path)]
    running = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path, deadline = tmp_path / "jsonl", time.monotonic() + SECONDS
    while not path.exists() or path.read_bytes().count(b"\n") < 20:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return running


def check_all(tmp_path):
    xmlschema.XMLSchema(XUNIT2).validate((tmp_path / "junit").read_text())
    V5_3.validate(json.loads((tmp_path / "kcidb").read_text()))
    for line in (tmp_path / "jsonl").read_text().splitlines():
        Draft202012Validator(LINES).validate(json.loads(line))


def test_every_report_of_a_run_is_valid(tmp_path):
    assert main(command(tmp_path, *SELECTED)) == ExitCode.OK
    check_all(tmp_path)
    document = read_run(tmp_path / "run.json")
    assert document == read_run(tmp_path / "jsonl")
    skipped = any(r.verdict.value == "SKIPPED" for r in document.records)
    assert not re.search(r"^ *not ok", (tmp_path / "ktap").read_text(), re.MULTILINE)
    assert ("# SKIP no_amx" in (tmp_path / "ktap").read_text()) == skipped


def test_what_was_written_live_can_be_made_again_from_the_run(tmp_path):
    main(command(tmp_path, *SELECTED))
    run = read_run(tmp_path / "run")
    for known in ("junit", "kcidb", "jsonl"):
        assert format_of(known).render([run]) == (tmp_path / known).read_text()


def test_an_interrupted_run_leaves_valid_reports(tmp_path):
    running = started(tmp_path)
    running.send_signal(signal.SIGINT)
    assert running.wait(SECONDS) == ExitCode.INTERRUPTED
    check_all(tmp_path)
    run = read_run(tmp_path / "jsonl")
    assert (run.ending, bool(run.not_completed)) == (Ending.CUT_SHORT, True)
    last = (tmp_path / "ktap").read_text().splitlines()[-1]
    assert last == "not ok 1 kvmprobe # ERROR the run was cut short"


def test_a_killed_run_leaves_what_it_had_recorded(tmp_path):
    running = started(tmp_path)
    running.kill()
    running.wait(SECONDS)
    run = read_run(tmp_path / "jsonl")
    assert len(run.records) >= 19
    assert run.ending is Ending.CUT_SHORT
    assert (tmp_path / "ktap").read_text().startswith("KTAP version 1\n1..1\n  KTAP version 1\n")
