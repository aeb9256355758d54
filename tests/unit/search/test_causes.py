"""Two failures in the same read have different causes if their calls differ, or their order."""

from __future__ import annotations

import pytest

from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd, SetXfdErr
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.search.causes import can_be_caused_by, writes_of

START = (OpenKvm(), CreateVm(), CreateVcpu())


def scenario(*ops):
    return Scenario("a", "", "", tuple(map(ScenarioStep, (*START, *ops))))


XSAVE_XFD = scenario(SetXsave(0), SetXfd(0), GetXsave2())


def test_reads_cause_nothing():
    assert [text.split()[0] for text in writes_of(XSAVE_XFD)[-2:]] == [
        "KVM_SET_XSAVE",
        "KVM_SET_MSRS",
    ]


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ((SetXsave(1), GetXcrs(), SetXcrs(1), SetXfd(1)), True),
        ((SetXfd(1), SetXsave(1)), False),
        ((SetXfd(1), SetXsave(1), SetXfd(0)), True),
        ((SetXfd(1),), False),
        ((SetXsave(1), SetXfdErr(1)), False),
    ],
)
def test_a_cause_is_within_a_scenario_if_its_calls_are_there_in_order(ops, expected):
    assert can_be_caused_by(scenario(*ops), [writes_of(XSAVE_XFD)]) is expected
