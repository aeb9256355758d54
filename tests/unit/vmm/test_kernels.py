"""Kernels that share steps come to what each would come to alone."""

from dataclasses import replace

import pytest

from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.outcome import HostDies
from kvmprobe.recordings.lines import Call, Permission, ProcessLine, Run
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.vmm.fatal import panics
from kvmprobe.vmm.follow import Follower
from kvmprobe.vmm.kernels import Kernels
from tests.support.hosts import AMX_HOST
from tests.support.recorded_scenarios import recorded

PANICS = frozenset(panics())
# The judged kernel, by the defects that it has.
JUDGED = [frozenset(), PANICS, frozenset(list(PANICS)[:1]), DEFECTS]
SCENARIOS = [
    "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles",
    "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles",
    "restore.msrs-xcrs-xsave-cpuid.perm-granted.xfd-zero.bv-tiles",
    "vmm.qemu-full.tiles",
    "vmm.firecracker.cet",
]


def entries_of(scenario, tmp_path):
    with RecordingReader(recorded("7.3.4", scenario, tmp_path / "r")) as reader:
        return [entry.with_whole_payloads() for entry in reader]


def says(taken):
    """What a model says, whichever host it is of."""
    return taken.why, taken.counted, taken.step and (taken.step.outcome, taken.step.machine[1:])


@pytest.mark.parametrize("judged", JUDGED, ids=lambda defects: f"{len(defects)} defects")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_kernel_says_what_it_says_alone(scenario, judged, tmp_path):
    host = replace(AMX_HOST, behaviours=AMX_HOST.without_defects.behaviours | judged)
    others = [host.behaviours - PANICS, *(host.behaviours - PANICS | {one} for one in PANICS)]
    kernels = Kernels(host, others)
    alone = {other: Follower(replace(host, behaviours=other)) for other in others}
    for entry in entries_of(scenario, tmp_path):
        if isinstance(entry.line, ProcessLine):
            kernels.see_process(entry.line)
            for follower in alone.values():
                follower.see_process(entry.line)
        if not isinstance(entry.line, Call | Permission | Run):
            continue
        taken = kernels.take(entry)
        for other, follower in alone.items():
            own = follower.take(entry)
            assert says(kernels.taken_by(other, taken)) == says(own), entry.number
            if own.step and not isinstance(own.step.outcome, HostDies):
                follower.adopt(own.step)
        kernels.go_on(taken)
    states = {kernel: machine[1:] for kernel, machine in kernels.machines("vCPU 0 of vm")}
    assert states == {other: follower.machine[1:] for other, follower in alone.items()}


def test_a_defect_that_makes_no_difference_costs_no_step(tmp_path):
    fixed = AMX_HOST.without_defects
    kernels = Kernels(fixed, [fixed.behaviours | PANICS])
    for entry in entries_of("vmm.qemu-full.no-tiles", tmp_path):
        if isinstance(entry.line, ProcessLine):
            kernels.see_process(entry.line)
        elif isinstance(entry.line, Call | Permission | Run):
            kernels.go_on(kernels.take(entry))
    [end] = [entry for entry in entries_of("vmm.qemu-full.no-tiles", tmp_path) if entry.spec][-1:]
    kernels.take(end)
    assert not kernels.parted()
