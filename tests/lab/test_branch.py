"""A scenario that forks behind a step goes on in each copy as if it had run alone."""

from contextlib import ExitStack

import pytest

from kvmprobe.errors import WorkerError
from kvmprobe.execution.branch import Branch
from kvmprobe.execution.driver import BranchEndedError, Driver, Request, TraceLostError
from kvmprobe.execution.probing import examine
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.lab.ports import TemplateLost
from kvmprobe.progress import Silent
from kvmprobe.scenarios import catalog

ORDERS = ("cpuid-xcrs-msrs-xsave", "cpuid-xcrs-xsave-msrs", "cpuid-xsave-xcrs-msrs")
COLUMN = "perm-granted.xfd-armed.bv-tiles"


@pytest.fixture(scope="module")
def place():
    archives = Archives(Cache.from_environment())
    with EmulatedHost.prepare(archives, "7.3.4", None, Silent()) as place:
        yield place


@pytest.fixture(scope="module")
def host(place):
    with place.open() as link:
        return examine(Driver(link, place.timing)).profile


@pytest.fixture(scope="module")
def orders(host):
    wanted = {f"restore.{order}.{COLUMN}" for order in ORDERS}
    return [s for s in catalog.scenarios(host) if s.id in wanted]


def shared(scenarios):
    """How many steps all scenarios have in common at the start."""
    steps = zip(*(s.steps for s in scenarios), strict=False)
    return next(n for n, same in enumerate(steps) if len({s.ops for s in same}) > 1)


def straight(place, host, scenario):
    with place.open() as link:
        requests = [Request(scenario, gate=0)]
        try:
            ((_, trace),) = Driver(link, place.timing).traces(requests, host)
        except TraceLostError as lost:
            return lost.trace.steps, lost.crash and lost.crash.function
    return trace.steps, None


def begun(place, host, scenario, step, others=()):
    later = {op for s in (scenario, *others) for _, op in s.ops()}
    return Branch.begin(place.open(), place.timing, scenario.upto(step), later, host)


def test_each_fork_goes_on_like_the_scenario_alone(place, host, orders):
    step = shared(orders)
    assert 2 < step < min(len(s.steps) for s in orders)
    with begun(place, host, orders[0], step, orders) as trunk:
        for scenario in orders:
            crashed = None
            with trunk.fork() as branch:
                try:
                    branch.go_on(*(s.ops for s in scenario.steps[step:]))
                    steps = branch.steps
                except TraceLostError as lost:
                    steps = branch.steps + lost.trace.steps
                    crashed = lost.crash.function
            assert (steps, crashed) == straight(place, host, scenario)


def test_a_fork_can_be_forked_step_by_step(place, host, orders):
    scenario = orders[0]
    with ExitStack() as ended:
        branches = [ended.enter_context(begun(place, host, scenario, 3))]
        for step in scenario.steps[3:]:
            branches.append(ended.enter_context(branches[-1].fork()))
            branches[-1].go_on(step.ops)
        assert branches[-1].steps == straight(place, host, scenario)[0]
        assert len(branches[0].steps) == 3


def test_a_scenario_that_breaks_does_not_wait(place, host, orders):
    scenario = orders[0]
    with begun(place, host, scenario, 3) as trunk:
        last = scenario.steps[-1].ops
        with pytest.raises(BranchEndedError) as ended:
            trunk.go_on(last)  # names a vCPU that no step has made
        assert "step 3" in ended.value.trace.end_note


def test_an_op_that_was_not_named_is_refused(place, host, orders):
    trunk = Branch.begin(place.open(), place.timing, orders[0].upto(3), (), host)
    with trunk, pytest.raises(KeyError):
        trunk.go_on(orders[0].steps[-1].ops)


def test_a_machine_that_has_ended_does_not_fork(place, host, orders):
    with begun(place, host, orders[0], 3) as trunk:
        trunk._link.abort()
        with pytest.raises((TemplateLost, WorkerError)):
            trunk.fork()
