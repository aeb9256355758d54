"""What the doctor says of ways to keep a panic's report, and of watchdogs."""

import pytest

from kvmprobe.host.doctor.advice import Readiness
from kvmprobe.host.doctor.crash_reports import crash_reports, watchdog
from tests.support.host_tree import HostTree

MOUNTED = "sysfs /sys sysfs rw 0 0\npstore /sys/fs/pstore pstore rw,nosuid 0 0\n"
BACKEND = "/sys/module/pstore/parameters/backend"
ACTIVE = "/sys/class/tty/console/active"


@pytest.fixture
def host(tmp_path):
    return HostTree(tmp_path)


def findings(host):
    return {advice.topic: advice for advice in crash_reports(host.files)}


def test_a_host_that_keeps_nothing_is_not_ready(host):
    assert findings(host)["crash report"].readiness is Readiness.NOT_READY


def test_a_crash_kernel_is_enough(host):
    host.put("/sys/kernel/kexec_crash_loaded", "1\n")
    ways = findings(host)
    assert (ways["kdump"].readiness, "crash report" in ways) == (Readiness.FINE, False)


def test_a_crash_kernel_that_could_be_loaded_is_none(host):
    host.put("/sys/kernel/kexec_crash_loaded", "0\n")
    assert findings(host)["kdump"].readiness is Readiness.WORTH_KNOWING


def test_an_empty_mounted_pstore_with_a_backend_is_fine(host):
    host.put(BACKEND, "ramoops\n")
    host.put("/proc/mounts", MOUNTED)
    ways = findings(host)
    assert (ways["pstore"].readiness, "crash report" in ways) == (Readiness.FINE, False)


# fs/pstore/platform.c: the parameter is "(null)" until a backend registers.
@pytest.mark.parametrize("backend", ["(null)\n", "\n"])
def test_a_pstore_without_backend_keeps_nothing(host, backend):
    host.put(BACKEND, backend)
    host.put("/proc/mounts", MOUNTED)
    ways = findings(host)
    assert (ways["pstore"].finding, ways["crash report"].readiness) == (
        "pstore has no backend",
        Readiness.NOT_READY,
    )


def test_a_pstore_that_is_not_mounted_says_how_to_mount_it(host):
    host.put(BACKEND, "efi_pstore\n")
    host.put("/proc/mounts", "sysfs /sys sysfs rw 0 0\n")
    assert findings(host)["pstore"].remedy == "mount -t pstore pstore /sys/fs/pstore"


def test_records_of_an_earlier_crash_are_counted(host):
    host.put(BACKEND, "ramoops\n")
    host.put("/proc/mounts", MOUNTED)
    host.put("/sys/fs/pstore/dmesg-ramoops-0", "Panic#1")
    assert "1 older records" in findings(host)["pstore"].finding


def test_a_netconsole_target_counts_only_when_it_is_enabled(host):
    host.put("/sys/module/netconsole/refcnt", "0\n")
    host.put("/sys/kernel/config/netconsole/lab/enabled", "0\n")
    assert findings(host)["netconsole"].readiness is Readiness.WORTH_KNOWING
    host.put("/sys/kernel/config/netconsole/lab/enabled", "1\n")
    assert findings(host)["netconsole"].readiness is Readiness.FINE


def test_a_serial_console_may_be_recorded_or_not(host):
    host.put(ACTIVE, "tty0 ttyS0\n")
    assert findings(host)["crash report"].readiness is Readiness.WORTH_KNOWING


def test_a_screen_keeps_nothing(host):
    host.put(ACTIVE, "tty0\n")
    assert findings(host)["crash report"].readiness is Readiness.NOT_READY


def test_a_host_without_watchdog_is_worth_knowing(host):
    assert watchdog(host.files).readiness is Readiness.WORTH_KNOWING


# Documentation/ABI/testing/sysfs-class-watchdog: state is active or inactive.
@pytest.mark.parametrize(
    ("state", "readiness"),
    [("active", Readiness.FINE), ("inactive", Readiness.WORTH_KNOWING)],
)
def test_a_watchdog_counts_only_while_it_is_fed(host, state, readiness):
    host.put("/sys/class/watchdog/watchdog0/state", f"{state}\n")
    assert watchdog(host.files).readiness is readiness


def test_a_watchdog_of_a_kernel_without_its_state_in_sysfs_is_named(host):
    host.put("/sys/class/watchdog/watchdog0/dev", "250:0\n")
    assert "watchdog0 in unknown state" in watchdog(host.files).finding
