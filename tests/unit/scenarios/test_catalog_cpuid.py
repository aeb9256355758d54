"""The family ``cpuid``."""

from __future__ import annotations

from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.machine import Machine
from kvmprobe.scenarios.catalog import cpuid
from kvmprobe.scenarios.cpuid_tables import LITERAL
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from tests.support.hosts import AMX_HOST

ALL = cpuid.scenarios(AMX_HOST)


def test_no_defect_makes_one_fatal():
    model_runs = ModelRuns(AMX_HOST)
    assert [s.id for s in ALL if first_hazard(s, model_runs, DEFECTS) is not None] == []


def test_every_variant_is_tried_with_and_without_permission():
    rows = {s.row: [] for s in ALL}
    for scenario in ALL:
        rows[scenario.row].append(scenario.column)
    for variant in LITERAL:
        assert rows[f"set-{variant}"] == ["perm-none", "perm-granted"]


def test_both_answers_of_permission_are_seen():
    # INV-11
    errnos = set()
    for scenario in ALL:
        machine = Machine.fresh(AMX_HOST)
        for _, op in scenario.ops():
            step = op.step(machine)
            if op.name == "set-cpuid2":
                errnos.add(getattr(step.outcome, "errno", 0))
            machine = step.machine
    # 0, EPERM, EIO, EINVAL
    assert errnos == {0, 1, 5, 22}
