"""Switches for tests of /dev/kvm, the emulated host and a browser; which tests run at once."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections import defaultdict
from functools import cache

import pytest
from xdist.scheduler import LoadScopeScheduling

SWITCHES = {
    "kvm": "KVMPROBE_TEST_KVM",
    "lab": "KVMPROBE_TEST_LAB",
    "browser": "KVMPROBE_TEST_BROWSER",
}
AUTO, REQUIRE, OFF = "auto", "require", "off"
STATE_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
NOT_EXERCISED = "not exercised"
# The longest begin first: what is short fills the gaps at the end.
LONGEST = (
    "tests/native/",
    "tests/lab/test_side_by_side",
    "tests/lab/test_persistent_disk",
    "tests/lab/test_coverage",
    "tests/lab/",
    "tests/browser/",
    "tests/contract/",
)


def pytest_configure(config):
    # As kvmprobe has it; looking for garbage took a tenth of the CPU time of the tests.
    gc.set_threshold(50_000)
    config.pluginmanager.register(NotExercised())
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
                report.user_properties.append((NOT_EXERCISED, [marker, reason]))
    return report


class NotExercised:
    """Counts what was skipped, in this process or in a worker of xdist, and lists it at the end."""

    def __init__(self):
        self._counts = defaultdict(int)

    def pytest_runtest_logreport(self, report):
        for name, value in report.user_properties:
            # A worker's report carries the properties of the earlier phases of its test, too.
            if name == NOT_EXERCISED and report.skipped:
                self._counts[tuple(value)] += 1

    def pytest_terminal_summary(self, terminalreporter):
        for (marker, reason), count in sorted(self._counts.items()):
            terminalreporter.write_line(f"NOT exercised: {count} tests marked {marker}: {reason}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    def place(item):
        return next((n for n, f in enumerate(LONGEST) if item.nodeid.startswith(f)), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish(session):
    # Modules and tests live to the end: no look for garbage goes through them again.
    gc.collect()
    gc.freeze()


class ByModule(LoadScopeScheduling):
    """A module's tests run one after the other, and so do all tests of this machine's kernel.

    Those share its log, its settings and its devices.  A module's tests share fixtures: a boot of
    the emulated host, the catalogue on a correct kernel.
    """

    def _split_scope(self, nodeid):
        path = nodeid.partition("::")[0]
        return "tests/native" if path.startswith("tests/native/") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByModule(config, log)


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
