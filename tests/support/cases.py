"""Failures to be reported: of the fake kernels' runs, and of records with hostile text."""

from dataclasses import replace
from functools import cache

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.bug_report.case import case_of
from kvmprobe.results.record import Target
from kvmprobe.scenarios import catalog
from tests.support import fake_runs
from tests.support.hosts import AMX_HOST

O1 = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"
B1 = "restore.cpuid-xcrs-msrs-xsave.perm-granted.xfd-armed.bv-tiles"
O2 = "fpu.get-replaced.none"
O3 = "restore.msrs-xcrs-xsave-cpuid.perm-granted.xfd-zero.bv-legacy"
B4 = "restore.cpuid-msrs-xcrs-xsave.perm-none.xfd-zero.bv-legacy"
SCENARIOS = (O1, B1, O2, O3, B4)
OPEN = (
    Behaviour.XFD_WRITE_KEEPS_XSTATE_BV,
    Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE,
    Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV,
)
B1_TOO = (*OPEN, Behaviour.SET_XSAVE_KEEPS_XFD_ARMED)
B4_TOO = (*OPEN, Behaviour.XTILE_CFG_ADVERTISED_ALONE)


@cache
def scenario(scenario_id):
    return next(s for s in catalog.scenarios(AMX_HOST) if s.id == scenario_id)


@cache
def run_on(kernel, *behaviours):
    """The five scenarios on a kernel with these defects."""
    return fake_runs.run_of(kernel, [scenario(s) for s in SCENARIOS], *behaviours)


def fail(scenario_id, run, *others):
    """The case of a scenario that failed in a run."""
    return case_of(run, others, scenario_id, scenario(scenario_id).needs)


def changed(run, scenario_id, **fields):
    """The run with other fields in one scenario's record."""
    records = (replace(r, **fields) if r.id == scenario_id else r for r in run.records)
    return replace(run, records=tuple(records))


def on_silicon(run):
    """The run as if this host had been its target."""
    records = (
        replace(r, target=Target("host", r.target.kernel, r.target.source)) for r in run.records
    )
    return replace(run, records=tuple(records))
