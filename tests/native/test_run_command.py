"""``kvmprobe run`` and ``kvmprobe probe`` on this host's /dev/kvm."""

import json
import signal
import subprocess
import time

import psutil
import pytest

from kvmprobe.errors import ExitCode
from tests.support.command import COMMAND, kvmprobe
from tests.support.places import REASONS_TO_SKIP

pytestmark = pytest.mark.kvm
LOCAL = ["run", "--target", "host"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Run everything that this host can, once; return how it ended and its document."""
    path = tmp_path_factory.mktemp("whole") / "run.json"
    ended = kvmprobe(*LOCAL, "--known", "xfail", "--json", str(path))
    return ended, json.loads(path.read_text())


def test_known_defects_explain_every_divergence_on_this_host(whole):
    ended, document = whole
    counts = document["summary"]["counts"]
    assert (ended.returncode, set(counts) <= {"PASS", "XFAIL", "SKIPPED"}) == (ExitCode.OK, True), (
        ended.stdout
    )


def test_known_defects_explain_every_finding_of_the_checkers(whole):
    _, document = whole
    found = [(s["id"], finding) for s in document["scenarios"] for finding in s["findings"]]
    assert [pair for pair in found if not pair[1].get("known")] == []


def test_skipped_scenarios_carry_a_reason_code(whole):
    _, document = whole
    skipped = [s for s in document["scenarios"] if s["verdict"] == "SKIPPED"]
    reasons = {s["reason"].split(":")[0] for s in skipped}
    assert reasons <= REASONS_TO_SKIP


def test_probe_says_what_is_testable():
    ended = kvmprobe("probe", "--json")
    document = json.loads(ended.stdout)
    assert document["schema"] == "kvmprobe-probe/1"
    assert {c["name"]: c["testable"] for c in document["testable"]}[
        "restore orders of XCR0 and XSTATE"
    ]


def test_run_whose_time_is_up_ends_with_124_and_a_valid_document(tmp_path):
    path = tmp_path / "run.json"
    ended = kvmprobe(*LOCAL, "--timeout", "0.01", "--json", str(path))
    document = json.loads(path.read_text())
    assert ended.returncode == ExitCode.RUN_TIMEOUT
    assert document["summary"]["not_completed"]


def test_interrupted_run_ends_with_130_a_valid_document_and_no_process(tmp_path):
    path = tmp_path / "run.json"
    with subprocess.Popen(
        [*COMMAND, *LOCAL, "--json", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        while run.poll() is None and (not path.exists() or path.stat().st_size < 20_000):
            time.sleep(0.01)
        children = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == ExitCode.INTERRUPTED
    assert b"did not complete" in errors
    assert json.loads(path.read_text())["summary"]["complete"] is False
    assert not psutil.wait_procs(children, timeout=5)[1]
