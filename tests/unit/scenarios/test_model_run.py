"""Memoised model runs: what is shared between hosts, and that sharing changes no answer."""

import errno
from dataclasses import replace
from itertools import pairwise

import pytest

from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.model.outcome import Failed, NewDescriptor
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRun, ModelRuns
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

HOST = sapphire_rapids()
SAMPLE = catalog.scenarios(HOST)[::13]
SHARED = ModelRuns(HOST)
ONE_EACH = [frozenset({defect}) for defect in sorted(DEFECTS, key=lambda d: d.name)]


def outcomes(model_run, scenario):
    return [known.step.outcome for known in model_run.walk(scenario)]


@pytest.mark.parametrize("defects", [*ONE_EACH, DEFECTS], ids=len)
def test_sharing_with_the_correct_host_changes_no_outcome(defects):
    # Fails if the model asks for a defect only in a function whose results are cached.
    alone = ModelRun(replace(HOST, behaviours=defects))
    different = [
        scenario.id
        for scenario in SAMPLE
        if outcomes(SHARED.with_defects(defects), scenario) != outcomes(alone, scenario)
    ]
    assert different == []


def test_a_step_that_no_defect_changes_is_shared():
    model_runs = ModelRuns(HOST)
    (scenario,) = (s for s in catalog.scenarios(HOST) if s.id == "system.extensions.vcpu")
    correct = model_runs.with_defects().walked(scenario)
    defective = model_runs.with_defects(DEFECTS).walked(scenario)
    assert all(one is other for one, other in zip(correct, defective, strict=True))


def test_after_a_difference_nothing_is_shared():
    model_runs = ModelRuns(HOST)
    name = "restore.xsave-cpuid-msrs-xcrs.perm-granted.xfd-zero.bv-legacy"
    (scenario,) = (s for s in catalog.scenarios(HOST) if s.id == name)
    correct = model_runs.with_defects().walked(scenario)
    defective = model_runs.with_defects(DEFECTS).walked(scenario)
    same = [one is other for one, other in zip(correct, defective, strict=True)]
    assert same[0]
    assert not same[-1]
    assert same == sorted(same, reverse=True)


def test_a_step_keeps_the_machine_whose_id_is_its_key():
    # The id of a machine that is gone can be another machine's.
    model_run = ModelRuns(HOST).with_defects(DEFECTS)
    for scenario in SAMPLE[:40]:
        model_run.walked(scenario)
    steps = model_run._steps
    assert steps
    assert [id(known.before) for known in steps.values()] == [place for place, _ in steps]


def test_all_runs_forget_their_steps_before_they_take_too_much_memory(monkeypatch):
    monkeypatch.setattr("kvmprobe.scenarios.model_run._MOST", 1 << 20)
    model_runs = ModelRuns(HOST)
    sizes = []
    for scenario in SAMPLE:
        runs = [model_runs.with_defects(defects) for defects in (frozenset(), *ONE_EACH)]
        sizes.append(sum(model_run.size for model_run in runs))
        for model_run in runs:
            model_run.walked(scenario)
    assert sum(b < a for a, b in pairwise(sizes)) > 2
    assert max(sizes) <= 1 << 20


def test_forgetting_changes_no_outcome(monkeypatch):
    monkeypatch.setattr("kvmprobe.scenarios.model_run._MOST", 1 << 16)
    model_runs, alone = ModelRuns(HOST), ModelRun(replace(HOST, behaviours=DEFECTS))
    for scenario in SAMPLE:
        assert outcomes(model_runs.with_defects(DEFECTS), scenario) == outcomes(alone, scenario)


def test_a_run_ends_before_a_vcpu_that_its_kernel_did_not_create():
    # virt/kvm/kvm_main.c: kvm_vm_ioctl_create_vcpu: an id that is taken fails with EEXIST
    taken = CreateVcpu("vcpu1", id=1 << 32)
    ops = (OpenKvm(), CreateVm(), taken, CreateVcpu(), GetXsave2(), GetXsave2())
    scenario = Scenario("a", "", "", tuple(map(ScenarioStep, ops)))
    truncates = frozenset({Behaviour.VCPU_ID_TRUNCATED})
    model_runs = ModelRuns(HOST)
    assert len(model_runs.with_defects().walked(scenario)) == len(ops)
    steps = model_runs.with_defects(truncates).walked(scenario)
    assert [known.step.outcome for known in steps[2:]] == [NewDescriptor(), Failed(errno.EEXIST)]
