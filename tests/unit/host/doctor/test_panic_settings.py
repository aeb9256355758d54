"""What the doctor says of the settings for panic, oops and hang.

:see: Documentation/admin-guide/sysctl/kernel.rst
"""

import pytest

from kvmprobe.host.doctor.advice import Readiness
from kvmprobe.host.doctor.panic_settings import panic_settings
from tests.support.host_tree import HostTree

GOOD = {
    "panic": 10,
    "panic_on_oops": 1,
    "panic_on_warn": 0,
    "hung_task_panic": 1,
    "softlockup_panic": 1,
    "soft_watchdog": 1,
    "nmi_watchdog": 1,
    "sysrq": 1,
}


@pytest.fixture
def host(tmp_path):
    return HostTree(tmp_path)


def findings(host, **settings):
    for name, value in (GOOD | settings).items():
        if value is not None:
            host.put(f"/proc/sys/kernel/{name}", f"{value}\n")
    return {advice.topic: advice for advice in panic_settings(host.files)}


def test_a_host_that_dies_and_comes_back_is_fine(host):
    assert {advice.readiness for advice in findings(host).values()} == {Readiness.FINE}


def test_a_host_that_stays_down_after_a_panic_is_not_ready(host):
    panic = findings(host, panic=0)["panic"]
    assert (panic.readiness, "--arm" in panic.remedy) == (Readiness.NOT_READY, True)


def test_a_negative_panic_reboots_immediately(host):
    # kernel.rst: "If the value is negative, the kernel reboots immediately".
    panic = findings(host, panic=-1)["panic"]
    assert (panic.readiness, "immediately" in panic.finding) == (Readiness.FINE, True)


@pytest.mark.parametrize("name", ["panic_on_oops", "hung_task_panic", "softlockup_panic"])
def test_a_host_that_lives_on_in_trouble_is_worth_knowing(host, name):
    advice = findings(host, **{name: 0})[name]
    assert (advice.readiness, f"kernel.{name}=1" in advice.remedy) == (
        Readiness.WORTH_KNOWING,
        True,
    )


def test_a_host_that_dies_of_a_warning_is_worth_knowing(host):
    assert findings(host, panic_on_warn=1)["panic_on_warn"].readiness is Readiness.WORTH_KNOWING


@pytest.mark.parametrize(("missing", "kind"), [("soft_watchdog", "soft"), ("nmi_watchdog", "hard")])
def test_lockups_that_are_not_detected_are_named(host, missing, kind):
    assert (
        f"does not detect {kind} lockups"
        in findings(host, **{missing: 0})["lockup detection"].finding
    )


# sysrq.rst: 0 none, 1 all, else a bitmap in which 0x80 allows reboot.
@pytest.mark.parametrize(
    ("value", "readiness"),
    [
        (1, Readiness.FINE),
        (0xB6, Readiness.FINE),
        (0x80, Readiness.FINE),
        (0, Readiness.WORTH_KNOWING),
        (0x10, Readiness.WORTH_KNOWING),
        (None, Readiness.WORTH_KNOWING),
    ],
)
def test_sysrq_is_fine_if_it_may_reboot(host, value, readiness):
    assert findings(host, sysrq=value)["sysrq"].readiness is readiness


def test_a_kernel_without_these_files_raises_nothing(host):
    readiness = {advice.readiness for advice in panic_settings(host.files)}
    assert Readiness.NOT_READY not in readiness
