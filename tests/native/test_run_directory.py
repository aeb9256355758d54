"""What ``kvmprobe run`` leaves in a run's directory, and what is made of it."""

from __future__ import annotations

import json

import pytest

from kvmprobe.results.journal import read_entries
from kvmprobe.results.run_directory import JOURNAL, payload
from kvmprobe.results.run_document import read_run
from tests.support.command import kvmprobe

pytestmark = pytest.mark.kvm


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory and the document of one run."""
    root = tmp_path_factory.mktemp("runs")
    path, document = root / "run", root / "run.json"
    select = ["--select", "fpu.set.*", "--select", "xcrs.*"]
    kvmprobe("run", "--target", "host", *select, "--out", str(path), "--json", str(document))
    kvmprobe("resume", str(path))
    return path, document


def test_an_intent_precedes_every_result(run):
    intended: set[str] = set()
    results = []
    for entry in read_entries(run[0] / JOURNAL):
        if entry["type"] == "intent":
            intended.update(entry["scenarios"])
        elif entry["type"] == "result" and entry["record"]["verdict"] != "SKIPPED":
            results.append((entry["record"]["id"], entry["record"]["id"] in intended))
    assert results
    assert [name for name, preceded in results if not preceded] == []


def test_the_outputs_of_a_failed_scenario_are_kept(run):
    path, _ = run
    entries = [e for e in read_entries(path / JOURNAL) if e["type"] == "result"]
    failed = [e for e in entries if e["record"]["verdict"] == "DIVERGED"]
    kept = [payload(path, name) for e in failed for name in e["outputs"].values()]
    assert failed
    assert {len(image) for image in kept} >= {416}  # struct kvm_fpu, of KVM_GET_FPU


def test_directory_and_document_have_the_same_records(run):
    path, document = run
    assert read_run(path).records == read_run(document).records


def test_the_directory_has_the_hosts_facts(run):
    reread = read_run(run[0])
    (facts,) = reread.environments.values()
    assert facts["kernel"]["release"] == reread.targets[0].kernel


def test_the_directory_has_the_kernels_behaviours(run):
    (facts,) = read_run(run[0]).environments.values()
    ended = kvmprobe("probe", "--json")
    assert facts["behaviours"]["found"] == sorted(json.loads(ended.stdout)["behaviours"])


@pytest.mark.parametrize("report", ["ktap", "junit", "kcidb", "jsonl", "html"])
def test_reports_are_made_of_a_directory(run, report):
    ended = kvmprobe("report", str(run[0]), "--format", report, "--output", "-")
    assert (ended.returncode, ended.stderr, "fpu.set.first" in ended.stdout) == (0, "", True)


def test_runs_lists_it(run):
    ended = kvmprobe("runs", "--also", str(run[0]))
    assert str(run[0]) in ended.stdout
