"""Errors planted in the model are found by a search on a real kernel, and reduced."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.model import msr, uabi, xcr
from kvmprobe.xstate.features import DYNAMIC, XTILE, XFeature

pytestmark = pytest.mark.lab
OPS = ("set-cpuid2", "set-xcrs", "set-xfd", "set-xsave")
# What a scenario needs before its first restore: open, VM, vCPU, and perhaps permission.
LONGEST = 6


def half_enabled_tiles(original):
    """XCR0 may have one of XTILE_CFG and XTILE_DATA without the other."""

    def legal_xcr0(value, guest_xcr0):
        return original(value & ~XTILE, guest_xcr0) and not value & ~guest_xcr0

    return legal_xcr0


def any_component_is_settable(original):
    """KVM_SET_XSAVE takes a component that the host does not support."""
    return lambda host, vcpu: original(host, vcpu) | XFeature.BNDREGS.bit


def any_xfd(original):
    """IA32_XFD takes reserved bits, and ignores them."""
    return lambda host, vcpu, value, load: original(host, vcpu, value & DYNAMIC, load)


ERRORS = {
    "xcr0": (xcr, "legal_xcr0", half_enabled_tiles),
    "xsave": (uabi, "_settable", any_component_is_settable),
    "xfd": (msr, "_armed", any_xfd),
}


@pytest.mark.parametrize("name", ERRORS)
def test_explore_finds_a_planted_error(name, monkeypatch, tmp_path):
    module, function, planted = ERRORS[name]
    monkeypatch.setattr(module, function, planted(getattr(module, function)))
    out = tmp_path / "found"
    words = [word for op in OPS for word in ("--ops", op)]
    code = main(["explore", "--kernel", "7.3.4", "--depth", "2", *words, "--out", str(out)])
    assert code == ExitCode.DIVERGED
    finds = [f for f in json.loads((out / "explore.json").read_text())["finds"] if not f["known"]]
    scenarios = [json.loads((out / "scenarios" / f"{f['name']}.json").read_text()) for f in finds]
    assert scenarios
    assert min(len(scenario["steps"]) for scenario in scenarios) <= LONGEST
