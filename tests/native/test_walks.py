"""Any ops in any order: the kernel of this machine and the model in lockstep."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from kvmprobe.execution.driver import Driver
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.probing import examine
from tests.support.kernel_walks import walk_of

pytestmark = pytest.mark.kvm
LIMITS = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_kernel_and_the_model_go_the_same_way():
    place = ThisHost()
    with place.open() as link:
        driver = Driver(link, place.timing)
        walk = walk_of(driver, examine(driver))
        run_state_machine_as_test(walk, settings=LIMITS)
