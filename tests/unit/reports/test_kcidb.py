"""KCIDB by kcidb-io's own validation, offline."""

import json
from dataclasses import replace

import pytest
from kcidb_io.schema import LATEST, V5_3

from kvmprobe.reports.formats.kcidb import LONGEST_EXCERPT, digest, kcidb
from kvmprobe.results.run_document import read_run
from tests.support.runs import (
    EVERY,
    EVERY_VERDICT,
    HOST,
    INTERRUPTED,
    NEW,
    cuts,
    diverged,
    passed,
    run_of_records,
    written,
)


def report(*runs):
    return json.loads(kcidb(runs))


def by_path(*runs):
    return {test["path"]: test for test in report(*runs)["tests"]}


@pytest.mark.parametrize("version", [V5_3, LATEST], ids=str)
@pytest.mark.parametrize("run", [EVERY, INTERRUPTED, run_of_records()], ids=["all", "cut", "none"])
def test_a_report_is_valid(version, run):
    assert version.is_compatible(report(run))
    version.validate(report(run))


def test_kcidb_io_does_refuse_what_is_wrong():
    broken = report(EVERY)
    broken["tests"][0]["status"] = "GREAT"
    assert not V5_3.is_valid(broken)


def test_a_run_that_was_cut_is_valid(tmp_path):
    path = written(tmp_path / "run.json", EVERY)
    for cut in cuts(path.read_bytes()):
        path.write_bytes(cut)
        run = read_run(path)
        told = report(run)
        V5_3.validate(told)
        assert [t["status"] for t in told["tests"]].count("MISS") == bool(run.records)


# kcidb_io/schema/v05_03.py, status: what each of them means
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("kvmprobe.restore.a.x", "PASS"),
        ("kvmprobe.restore.b.x", "FAIL"),
        ("kvmprobe.restore.c", "FAIL"),
        ("kvmprobe.kick.a", "FAIL"),
        ("kvmprobe.kick.b", "PASS"),
        ("kvmprobe.xsave.a", "ERROR"),
        ("kvmprobe.guest.a", "SKIP"),
        ("kvmprobe.xcrs.a", "ERROR"),
        ("kvmprobe.sregs.a", "MISS"),
    ],
)
def test_a_verdict_has_its_status(path, status):
    assert by_path(INTERRUPTED)[path]["status"] == status


def test_every_reference_is_to_an_object_of_the_report():
    told = report(INTERRUPTED, run_of_records(diverged("restore.a", target=NEW)))
    ids = {kind: [o["id"] for o in told[kind]] for kind in told if kind != "version"}
    assert {b["checkout_id"] for b in told["builds"]} <= set(ids["checkouts"])
    assert {t["build_id"] for t in told["tests"]} <= set(ids["builds"])
    assert {i["test_id"] for i in told["incidents"]} <= set(ids["tests"])
    assert {i["issue_id"] for i in told["incidents"]} <= set(ids["issues"])
    assert all(len(of) == len(set(of)) for of in ids.values())


def test_every_object_is_of_our_origin():
    told = report(EVERY)
    objects = [o for kind in told if kind != "version" for o in told[kind]]
    assert {o["origin"] for o in objects} == {o["id"].split(":")[0] for o in objects}
    assert {o["origin"] for o in objects} == {"kvmprobe"}


def test_a_known_defect_is_an_issue_and_its_showing_an_incident():
    told = report(EVERY)
    assert [issue["id"] for issue in told["issues"]] == ["kvmprobe:O1"]
    present = {i["test_id"].rpartition("/")[2]: i["present"] for i in told["incidents"]}
    assert present == {"restore.b.x": True, "restore.c": True, "kick.a": True, "kick.b": False}


def test_an_issue_that_panics_the_host_is_in_the_category_of_oopses_as_well():
    records = [diverged("restore.a", known=(known,)) for known in ("O1", "B4")]
    categories = [issue["categories"] for issue in report(*map(run_of_records, records))["issues"]]
    assert categories == [["runtime.kvm"], ["runtime.kvm", "runtime.oops"]]


def test_a_test_has_the_files_that_its_environment_names():
    files = [{"name": "source.deb", "url": "https://archive.example/source.deb"}]
    told = report(replace(EVERY, environments={EVERY.records[0].target: {"input_files": files}}))
    V5_3.validate(told)
    assert [test.get("input_files") for test in told["tests"][:2]] == [files, files]


def test_a_kernel_is_one_build_of_one_checkout():
    told = report(EVERY)
    assert [b["comment"] for b in told["builds"]] == ["6.12.43", "6.18.44"]
    assert len(told["checkouts"]) == 2


def test_the_excerpt_has_the_divergence_and_the_kernels_words():
    excerpt = by_path(EVERY)["kvmprobe.restore.b.x"]["log_excerpt"]
    assert "expected: XSTATE_BV=0x20000" in excerpt
    assert "WARNING: CPU: 0 PID: 1" in excerpt


def test_the_excerpt_is_no_longer_than_the_schema_allows():
    long = diverged("restore.a")
    steps = tuple(s for s in long.steps for _ in range(5000))
    told = report(run_of_records(type(long)(**_fields(long) | {"steps": steps})))
    assert len(told["tests"][0]["log_excerpt"]) == LONGEST_EXCERPT
    V5_3.validate(told)


def _fields(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_the_same_run_has_the_same_ids_and_another_has_others():
    again, other = run_of_records(*EVERY_VERDICT), run_of_records(passed("restore.a", HOST))
    assert digest(again) == digest(EVERY)
    assert digest(other) != digest(EVERY)


def test_of_a_run_that_tested_no_kernel_nothing_is_said():
    told = report(run_of_records(not_completed=("restore.a",)))
    assert (told["tests"], told["builds"]) == ([], [])


def test_each_test_has_the_environment_it_ran_in():
    # As execution.facts and execution.environment gather them, cut to what matters here.
    facts = {
        "kernel": {"release": "6.12.95", "version": "#1 SMP"},
        "environment": {
            "kernel": {"build_id": "ab12", "config": {"source": "/boot/config", "sha256": "cd"}},
            "cpu": {"microcode": ["0x2b"], "cpuid": [[0, 0, 0, 0, 0, 0]]},
            "machine": {"dmi": {"bios_version": "1.2"}, "hypervisor": {"bit": 0, "vendor": ""}},
        },
        "kvm": {"parameters": {"kvm": {"ignore_msrs": "N", "halt_poll_ns": "200000"}}},
        "behaviours": {"found": ["XFD_WRITE_KEEPS_XSTATE_BV"], "undetermined": []},
    }
    first = EVERY.records[0].target
    run = replace(EVERY, environments={first: facts})
    told = report(run)
    V5_3.validate(told)
    assert told["tests"][0]["environment"]["misc"] == {
        "target": first.kind,
        "tool": EVERY.tool,
        "kernel": "6.12.95",
        "kernel_version": "#1 SMP",
        "build_id": "ab12",
        "config": "cd",
        "microcode": ["0x2b"],
        "dmi": {"bios_version": "1.2"},
        "hypervisor": {"bit": 0, "vendor": ""},
        "behaviours": ["XFD_WRITE_KEEPS_XSTATE_BV"],
        "kvm_parameters": {"kvm.ignore_msrs": "N"},
    }
