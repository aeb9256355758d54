"""Any ops in any order: the newest kernel, emulated with AMX, and the model in lockstep."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from kvmprobe.execution.driver import Driver
from kvmprobe.execution.probing import examine
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.progress import Silent
from tests.support.kernel_walks import walk_of

pytestmark = pytest.mark.lab
LIMITS = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_kernel_and_the_model_go_the_same_way():
    archives = Archives(Cache.from_environment())
    with (
        EmulatedHost.prepare(archives, "7.3.4", None, Silent()) as place,
        place.open() as link,
    ):
        driver = Driver(link, place.timing)
        walk = walk_of(driver, examine(driver))
        run_state_machine_as_test(walk, settings=LIMITS)
