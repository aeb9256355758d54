"""Chromium without a window, and pages to open in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.html_report.page import page
from kvmprobe.results.growth import Growth, Point, Strategy
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from tests.support.fake_runs import run_of, some_scenarios
from tests.support.hosts import AMX_HOST

CRASHING = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"
SHOWS_O2 = "fpu.get-replaced-after-run.none"
ALSO_CRASHING = "guest.lost-armed-by-host.tiles"
DEFECTS = (Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV)
FEW = 80
HOSTILE = "<script>alert(1)</script></script><img src=x onerror=alert(2)>\u2028"


@pytest.fixture(scope="session")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    # Naming the driver keeps selenium from looking for one on the network.
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """Chromium with a fresh tab's settings, 1280 pixels wide; what it complains of is an error."""
    show_at(chromium, 1280)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    chromium.get("about:blank")
    chromium.get_log("browser")
    yield chromium
    assert [entry["message"] for entry in chromium.get_log("browser")] == []


def show_at(driver, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def crashing():
    (scenario,) = (s for s in catalog.scenarios(AMX_HOST) if s.id == CRASHING)
    return scenario


@cache
def sample():
    """Some of each family that show no defect, and three that do."""
    some = some_scenarios(FEW)
    failing = {r.id for r in run_of("", some, *DEFECTS).records if r.verdict is not Verdict.PASS}
    chosen = ({s.id for s in some} - failing) | {SHOWS_O2, ALSO_CRASHING, CRASHING}
    return [s for s in catalog.scenarios(AMX_HOST) if s.id in chosen]


def searched(run):
    """Return a run with pictures of a search."""
    points = [Point(n * 60.0, n * 900, n * 20_000, 400 * n, 0) for n in range(1, 61)]
    return replace(run, growth=dict.fromkeys(run.targets, Growth(Strategy.GUIDED, points)))


def _written(path, runs):
    path.write_text(page(runs), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="session")
def two_kernels(tmp_path_factory):
    """Address of a page: 6.0.1 is correct; 6.0.2 has O1 and O2, and one scenario kills it."""
    scenarios = sample()
    runs = [searched(run_of("6.0.1", scenarios)), run_of("6.0.2", scenarios, *DEFECTS)]
    return _written(tmp_path_factory.mktemp("two") / "page.html", runs)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """Address of a page in which the console of a crash, and all else, is hostile."""
    run = run_of(HOSTILE, [crashing()], Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    (record,) = run.records
    crash = replace(record.crash, headline=HOSTILE, function=HOSTILE, report=f"{HOSTILE}\n" * 9)
    steps = (*record.steps[:-1], replace(record.steps[-1], kernel_log=(HOSTILE,)))
    run = replace(run, records=(replace(record, crash=crash, steps=steps, reason=HOSTILE),))
    return _written(tmp_path_factory.mktemp("hostile") / "page.html", [run])


@pytest.fixture(scope="session")
def twelve_kernels(tmp_path_factory):
    """Path of a page of 1,000 scenarios on 12 kernels, every other one with O1."""
    scenarios = some_scenarios(1000)
    defects = ((), (Behaviour.XFD_WRITE_KEEPS_XSTATE_BV,))
    kinds = [run_of("6.0", scenarios, *chosen) for chosen in defects]
    runs = []
    for number in range(12):
        run = kinds[number % 2]
        records = tuple(
            replace(
                record,
                target=replace(record.target, kernel=f"6.{number}.1"),
                duration=record.duration + number * 0.0007,
            )
            for record in run.records
        )
        runs.append(replace(run, records=records, name=f"{number}.json"))
    path = tmp_path_factory.mktemp("twelve") / "page.html"
    _written(path, runs)
    return path
