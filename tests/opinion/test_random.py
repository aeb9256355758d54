"""Both models agree on random calls, and would not if one of them were wrong."""

from __future__ import annotations

import runpy
import sys
from functools import cache
from pathlib import Path

import pytest

from kvmprobe.model.behaviours import Behaviour
from tests.opinion import registers, sdm
from tests.opinion.agreement import without_contest
from tests.opinion.answer import Topic
from tests.opinion.random_run import RandomRun
from tests.support.hosts import AMX_HOST, with_behaviours

SCRIPT = Path(__file__).parents[2] / "scripts" / "second_opinion_main.py"
STEPS = 6_000
# Of 6,000 calls of seed 1, two thirds of what is compared there.
AT_LEAST = {
    Topic.XCR0: 900,
    Topic.XFD: 1_200,
    Topic.PERMISSION: 1_000,
    Topic.XSTATE: 6_000,
    Topic.PKRU: 250,
    Topic.MXCSR: 450,
}


@cache
def finished():
    run = RandomRun(seed=1)
    return [str(one) for one, _ in run.until(STEPS)], run.comparison


def test_both_models_agree_on_random_calls():
    assert finished()[0] == []


def test_enough_was_compared():
    compared = finished()[1].compared
    assert {t: compared[t] for t, least in AT_LEAST.items() if compared[t] < least} == {}


def test_the_first_model_has_an_opinion_too():
    assert without_contest(finished()[1]) == []


def found_on(host, steps=STEPS):
    """The topics of the first disagreement's process."""
    run = RandomRun(seed=1, hosts=(host,))
    first = next(run.until(steps), None)
    return {one.topic for one in run.comparison.found} if first else set()


@pytest.mark.parametrize(
    ("defect", "topic"),
    [
        (Behaviour.SET_XSAVE_KEEPS_XFD_ARMED, Topic.XFD),
        (Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, Topic.XFD),
        (Behaviour.XTILE_CFG_ADVERTISED_ALONE, Topic.PERMISSION),
        (Behaviour.SET_XSAVE_LIMITED_BY_CPUID, Topic.XSTATE),
        (Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE, Topic.XSTATE),
    ],
    ids=lambda value: value.name,
)
def test_a_defect_of_a_kernel_is_a_disagreement(defect, topic):
    # It ends at the first one; some need a rare sequence.
    assert topic in found_on(with_behaviours(AMX_HOST, defect), 10 * STEPS)


def test_a_wrong_rule_of_the_second_model_is_a_disagreement(monkeypatch):
    # AVX without SSE: SDM vol.1 13.3 says that XSETBV refuses it.
    monkeypatch.setattr(sdm, "xcr0_is_legal", lambda xcr0: xcr0 & 1)
    assert found_on(AMX_HOST) == {Topic.XCR0}


def test_a_register_that_the_second_model_forgets_to_set_is_a_disagreement(monkeypatch):
    monkeypatch.setattr(registers, "_store", lambda vcpu, index, value: None)
    assert found_on(AMX_HOST) == {Topic.XFD}


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs scripts/second_opinion_main.py; returns its status and its last line."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["second_opinion", *arguments])
        status = runpy.run_path(SCRIPT)["main"]()
        return status, capsys.readouterr().out.splitlines()[-1]

    return run


def test_the_script_succeeds_where_both_agree(script):
    assert script("--steps", "500", "--seed", "3") == (0, "seed 3: both models agree")


def test_the_script_fails_where_they_do_not(script, monkeypatch):
    monkeypatch.setattr(sdm, "xcr0_is_legal", lambda xcr0: xcr0 & 1)
    assert script("--steps", "2000") == (1, "seed 0: the models disagree")
