"""A scenario that does not end on the emulated host."""

from dataclasses import replace

import pytest

from kvmprobe.execution.place import Timed
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.lifecycle import CreateVm, OpenKvm
from tests.support.places import ENDLESS, sequence

pytestmark = pytest.mark.lab


def test_its_kernel_stack_is_told_and_the_next_one_runs():
    archives = Archives(Cache.from_environment())
    later = sequence("test.later", OpenKvm(), CreateVm())
    records = []
    with EmulatedHost.prepare(archives, "7.3.4", None, Silent()) as place:
        timing = replace(place.timing, step=0.2)
        runner = Runner(Timed(place, timing), Hazardous.STOP, records.append, Silent())
        runner.run(lambda _: True, lambda _: [ENDLESS, later])
    assert [(r.id, r.verdict) for r in records] == [
        ("test.endless", Verdict.TIMED_OUT),
        ("test.later", Verdict.PASS),
    ]
    assert records[0].reason == "step 4 did not end within 0.2 s"
    assert any("kvm_vcpu_ioctl" in frame for frame in records[0].hang.tasks[0].stack)
