"""What a command imports and computes before its first line; each takes a tenth of a second."""

import json
import subprocess
import sys

import pytest

from kvmprobe.cli.grammar.parser import COMMANDS
from kvmprobe.cli.scenario import named
from kvmprobe.cli.traits import catalogue
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.catalog import fpu, restore, scenarios
from kvmprobe.scenarios.model_run import ModelRun

_LOADED = """
import contextlib, io, json, sys
from kvmprobe.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""


def loaded(*words):
    """Return the modules that a command line imports."""
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED, *words], capture_output=True, text=True, check=True
    )
    return set(json.loads(ended.stdout))


def test_help_imports_no_command():
    modules = loaded("--help")
    assert modules.isdisjoint({f"kvmprobe.cli.{name}" for name in COMMANDS})
    packages = {name.split(".")[1] for name in modules if name.startswith("kvmprobe.")}
    assert packages <= {"cli", "errors", "results"}
    assert modules.isdisjoint({"rich", "jinja2", "cffi", "psutil", "shtab"})


@pytest.mark.parametrize("command", ["list", "ops", "explain"])
def test_what_needs_no_kernel_imports_nothing_for_one(command):
    modules = loaded(command, "--help")
    packages = {name.split(".")[1] for name in modules if name.startswith("kvmprobe.")}
    assert packages.isdisjoint({"bindings", "execution", "lab", "host"})


def test_ids_are_listed_without_the_model(monkeypatch):
    monkeypatch.setattr(ModelRun, "step", None)
    monkeypatch.setattr(ModelRun, "walk", None)
    assert len([traits.scenario.id for traits in catalogue()]) > 3000


def test_one_scenario_is_found_without_the_other_families(monkeypatch):
    monkeypatch.setattr(restore, "scenarios", None)
    scenarios.cache_clear()
    host = sapphire_rapids()
    (expected,) = (s for s in fpu.scenarios(host) if s.id == "fpu.get.init")
    assert named("fpu.get.init", host) == expected
