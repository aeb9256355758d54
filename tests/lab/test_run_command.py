"""``kvmprobe run --kernel``: real kernels with and without the known defects."""

import json
import signal
import subprocess
import time
from collections import Counter

import psutil
import pytest

from kvmprobe.errors import ExitCode
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab
TILES = "restore.*.perm-granted.xfd-armed.bv-tiles"
# With permission, and with all of XCR0: 30 orders, 4 images, 2 XFD; and those that kick.
PERMITTED = (
    *("--select", "restore.*.perm-granted.* & !*.xcr0-*"),
    *("--select", "kick.*.perm-granted.*"),
)
XSAVE_LAST = {
    "cpuid-msrs-xcrs-xsave",
    "cpuid-msrs-xsave-xcrs",
    "cpuid-xcrs-msrs-xsave",
    "xcrs-cpuid-msrs-xsave",
}
XFD_LAST = {
    "cpuid-xsave-msrs-xcrs",
    "cpuid-xsave-xcrs-msrs",
    "cpuid-xcrs-xsave-msrs",
    "xcrs-cpuid-xsave-msrs",
}


def run(tmp_path, *arguments: str) -> tuple[int, dict]:
    path = tmp_path / "run.json"
    ended = subprocess.run(
        [*COMMAND, "run", "--observe", "each", "--json", str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert path.exists(), ended.stderr
    return ended.returncode, json.loads(path.read_text())


def order_of(record: dict) -> str:
    return record["id"].split(".")[1]


def orders(document: dict, *verdicts: str) -> set[str]:
    return {order_of(s) for s in document["scenarios"] if s["verdict"] in verdicts}


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixed")
    return run(folder, "--kernel", "7.3.4", *PERMITTED)


def test_fixed_kernel_diverges_where_xfd_comes_after_the_tiles(fixed):
    # Four orders, and three that kick; each of them crashes.
    status, document = fixed
    failed = [s for s in document["scenarios"] if s["known"] == ["O1"]]
    assert status == ExitCode.DIVERGED
    assert Counter(s["verdict"] for s in failed) == {"CRASHED": 4 + 3}
    assert {order_of(s) for s in failed} == XFD_LAST


def test_fixed_kernel_diverges_where_cpuid_comes_after_xstate(fixed):
    # 12 orders of the 24 with KVM_SET_CPUID2; 2 images without tiles, 2 XFD.
    _, document = fixed
    failed = [s for s in document["scenarios"] if s["known"] == ["O3"]]
    assert Counter(s["verdict"] for s in failed) == {"DIVERGED": 12 * 4}
    places = [order_of(s).split("-") for s in failed]
    assert all(order.index("xsave") < order.index("cpuid") for order in places)


def test_fixed_kernel_diverges_nowhere_else(fixed):
    _, document = fixed
    labels = {tuple(s["known"]) for s in document["scenarios"] if s["verdict"] != "PASS"}
    assert labels == {("O1",), ("O3",)}


def test_silent_orders_are_found_without_a_rule_about_them(fixed):
    # Two neighbours trade places in 6 pairs of orders of four calls, 4 variants: O3.
    # KVM_SET_CPUID2 before both: 3 pairs, and 2 pairs that kick: O1.
    _, document = fixed
    found = [f for s in document["scenarios"] for f in s["findings"]]
    pairs = Counter(tuple(f["known"]) for f in found if f["checker"] == "order-independence")
    assert pairs == {("O3",): 24, ("O1",): 5}


def test_known_defects_can_be_expected(tmp_path):
    arguments = ("--kernel", "7.3.4", "--select", TILES, "--known", "xfail")
    status, document = run(tmp_path, *arguments)
    assert status == ExitCode.OK
    assert orders(document, "XFAIL") == XFD_LAST


def test_crash_report_names_function_scenario_and_step(tmp_path):
    scenario = "restore.cpuid-xsave-xcrs-msrs.perm-granted.xfd-armed.bv-tiles"
    _, document = run(tmp_path, "--kernel", "6.12.95", "--select", scenario)
    (record,) = document["scenarios"]
    crash = record["crash"]
    assert (record["id"], crash["during"], crash["function"]) == (
        scenario,
        {"op": "run-until-halt", "vcpu": "vcpu0", "by": ""},
        "restore_fpregs_from_fpstate",
    )


def test_kernel_without_the_fix_diverges_in_both_orders(tmp_path):
    _, document = run(tmp_path, "--kernel", "6.12.43", "--select", TILES)
    labels = {order_of(s): s["known"] for s in document["scenarios"] if s["known"]}
    assert labels == {o: ["B1"] for o in XSAVE_LAST} | {o: ["O1"] for o in XFD_LAST}


def test_divergence_is_seen_at_the_read_back(tmp_path):
    scenario = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"
    _, document = run(tmp_path, "--kernel", "6.12.43", "--select", scenario)
    (divergence, *_) = document["scenarios"][0]["divergences"]
    assert divergence["call"] == {"op": "get-xsave2", "vcpu": "vcpu0", "by": ""}
    image = divergence["difference"]
    assert (image["expected_xstate_bv"], image["observed_xstate_bv"]) == (0x20000, 0x60000)


def test_every_hazardous_scenario_crashes(tmp_path):
    glob = "restore.cpuid-xcrs-*.perm-granted.xfd-armed.bv-tiles"
    _, document = run(tmp_path, "--kernel", "6.12.43", "--select", glob)
    crashed = orders(document, "CRASHED")
    assert crashed == {"cpuid-xcrs-msrs-xsave", "cpuid-xcrs-xsave-msrs"}


@pytest.mark.parametrize("stage", ["boot image", "probing", "scenarios"])
def test_interrupt_leaves_no_emulator_and_a_valid_document(tmp_path, stage):
    path = tmp_path / "run.json"
    with subprocess.Popen(
        [*COMMAND, "run", "--kernel", "7.3.4", "--json", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        for line in started.stderr:
            if stage in line:
                break
        time.sleep(0.5)
        children = psutil.Process(started.pid).children(recursive=True)
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=30)
    assert started.returncode == ExitCode.INTERRUPTED
    # The run begins, and its document with it, when the emulated host has been prepared.
    if stage != "boot image" or path.exists():
        assert json.loads(path.read_text())["summary"]["complete"] is False
    assert not psutil.wait_procs(children, timeout=5)[1]
