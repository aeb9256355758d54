"""The switches for tests that need /dev/kvm, the emulated host or a browser."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections import defaultdict
from functools import cache

import pytest

SWITCHES = {
    "kvm": "KVMPROBE_TEST_KVM",
    "lab": "KVMPROBE_TEST_LAB",
    "browser": "KVMPROBE_TEST_BROWSER",
}
AUTO, REQUIRE, OFF = "auto", "require", "off"
STATE_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
NOT_EXERCISED = pytest.StashKey[dict[tuple[str, str], int]]()


def pytest_configure(config):
    config.stash[NOT_EXERCISED] = defaultdict(int)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            # From a shell's background, or nohup; the tests' own processes would ignore it, too.
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    # Runs of the tests' own are not the user's.
    config.stash[STATE_FOLDER] = tempfile.TemporaryDirectory(prefix="kvmprobe-tests-")
    os.environ["XDG_STATE_HOME"] = config.stash[STATE_FOLDER].name
    for switch in SWITCHES.values():
        value = os.environ.get(switch, AUTO)
        if value not in {AUTO, REQUIRE, OFF}:
            raise pytest.UsageError(f"{switch}={value}: one of {AUTO}, {REQUIRE}, {OFF}")


def pytest_unconfigure(config):
    config.stash[STATE_FOLDER].cleanup()


def pytest_runtest_setup(item):
    for marker, switch in SWITCHES.items():
        if item.get_closest_marker(marker) is None:
            continue
        if _mode(switch) == OFF:
            pytest.skip(f"{switch}={OFF}")
        if marker == "kvm" and _why_no_kvm():
            pytest.skip(_why_no_kvm())
        if marker == "browser" and _why_no_browser():
            pytest.skip(_why_no_browser())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    for marker, switch in SWITCHES.items():
        if item.get_closest_marker(marker) is None or hasattr(report, "wasxfail"):
            continue
        mode = _mode(switch)
        if marker == "lab" and mode == AUTO and _lab_is_unusable(call.excinfo):
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, f"Skipped: {call.excinfo.value}")
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            reason = str(reason).removeprefix("Skipped: ")
            if mode == REQUIRE:
                report.outcome = "failed"
                report.longrepr = f"{switch}={REQUIRE}, but: {reason}"
            else:
                item.config.stash[NOT_EXERCISED][marker, reason] += 1
    return report


def pytest_terminal_summary(terminalreporter, config):
    for (marker, reason), count in sorted(config.stash[NOT_EXERCISED].items()):
        terminalreporter.write_line(f"NOT exercised: {count} tests marked {marker}: {reason}")


def _mode(switch):
    return os.environ.get(switch, AUTO)


@cache
def _why_no_kvm():
    from kvmprobe.bindings.kvm import Kvm
    from kvmprobe.errors import Unavailable

    try:
        Kvm.open().close()
    except Unavailable as reason:
        return str(reason)
    return ""


@cache
def _why_no_browser():
    missing = [program for program in ("chromium", "chromedriver") if not shutil.which(program)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def _lab_is_unusable(excinfo):
    if excinfo is None:
        return False
    from kvmprobe.errors import DownloadFailed, MissingTools, NoSpace

    return isinstance(excinfo.value, (DownloadFailed, MissingTools, NoSpace))
