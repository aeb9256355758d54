"""Runs scenarios at one place: probes it, plans, and lets its kind of place run the plan.

Scenarios that the model predicts to be hazardous run last.  At an expendable place they crash, and
several links run side by side (``shards``); ``real_host`` has what differs on a real host.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kvmprobe.errors import BootFailed
from kvmprobe.execution.driver import Driver, TraceLostError
from kvmprobe.execution.ledger import NoLedger
from kvmprobe.execution.link import LinkLostError
from kvmprobe.execution.place import Risk
from kvmprobe.execution.plan import NO_PAST, Past, Plan, Planned, plan, plan_as_given
from kvmprobe.execution.preflight import Preflight
from kvmprobe.execution.probing import examine
from kvmprobe.execution.real_host import RealHost
from kvmprobe.execution.settling import Hazardous, Settling
from kvmprobe.execution.shards import TRIES, Shards, was_killed
from kvmprobe.host.kernel_log import WATCHED
from kvmprobe.scenarios import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvmprobe.execution.ledger import Ledger
    from kvmprobe.execution.link import Link
    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.model_run import ModelRuns
    from kvmprobe.scenarios.scenario import Scenario

__all__ = ["Hazardous", "Runner"]

# Scenarios between two writes of the journal to the disk.
_BATCH = 64


class Runner:
    """One run at one place.

    :ivar not_runnable: records of the scenarios that cannot run here; the sink does not get them
    """

    def __init__(
        self,
        place: Place,
        hazardous: Hazardous,
        sink: Callable[[ScenarioRecord], None],
        progress: Progress,
        deadline: float = float("inf"),
        ledger: Ledger | None = None,
    ) -> None:
        """Prepare a run.

        :param sink: receives each record, in the order of the plan
        :param deadline: monotonic time at which the run ends, seconds
        """
        self._place = place
        self._progress = progress
        self._ledger = ledger or NoLedger()
        self._settling = Settling(place, hazardous, sink, progress, deadline, self._ledger)
        self._preflight: Preflight | None = None
        self.not_runnable: list[ScenarioRecord] = []

    @property
    def remaining(self) -> dict[str, None]:
        """Ids of the planned scenarios that have no record yet."""
        return self._settling.remaining

    @property
    def blind_spots(self) -> list[str]:
        """What could not be observed here, and why."""
        return self._settling.blind_spots

    def run(
        self,
        wanted: Callable[[str], bool],
        listed: Callable[[HostProfile], Sequence[Scenario]] = catalog.scenarios,
        past: Past = NO_PAST,
    ) -> Preflight:
        """Run the scenarios that are listed for this host and wanted.

        :param wanted: returns True for the id of a scenario that should run
        :param listed: returns the scenarios for a host; by default the catalogue's
        :param past: results of earlier attempts; a recorded scenario runs only for comparison
        :raises Unavailable: KVM is not usable at this place
        :raises RunTimeout: the deadline passed; ``remaining`` has the ids that did not complete
        :raises HostStuck: a task cannot be killed; ``remaining`` as above
        """
        name = self._place.target.description
        self._progress.stage(f"{name}: probing")
        with self._opened() as driver:
            preflight = self._examined
            self._begin(driver)
            made = self._plan(listed(preflight.profile), wanted, past)
            self._progress.stage(f"{name}: scenarios")
            real = RealHost(made, self._settling, self._ledger, self._progress, name)
            if self._place.risk is Risk.REAL:
                real.run_on(driver)
        if self._place.risk is Risk.EXPENDABLE:
            self._run_shards(made.planned)
            return preflight
        self._run_on(real)
        return preflight

    def examined(self) -> Preflight:
        """Probe the place, unless that has been done.

        :raises Unavailable: KVM is not usable at this place
        """
        if self._preflight is None:
            self._progress.stage(f"{self._place.target.description}: probing")
            with self._opened() as driver:
                self._begin(driver)
        return self._examined

    @property
    def model_runs(self) -> ModelRuns:
        """The model's runs of the place.

        :raises Unavailable: KVM is not usable at this place
        """
        self.examined()
        return self._settling.judging.model_runs

    def again(self, scenarios: Sequence[Scenario]) -> None:
        """Run further scenarios, which are compared with each other and with no earlier ones.

        :raises Unavailable, RunTimeout, HostStuck: see :meth:`run`
        """
        self.examined()
        self._settling.judging.forget()
        self.not_runnable.clear()
        if self._place.risk is Risk.REAL:
            made = self._plan(scenarios, lambda _: True, NO_PAST)
            name = self._place.target.description
            self._run_on(RealHost(made, self._settling, self._ledger, self._progress, name))
        elif self._settling.crashes_allowed:
            made = plan_as_given(scenarios, self._examined, self._place.target)
            self._expect(made)
            self._run_shards(made.planned)
        else:
            self._run_shards(self._plan(scenarios, lambda _: True, NO_PAST).planned)

    def _run_on(self, real: RealHost) -> None:
        while not real.is_done:
            with self._opened() as driver:
                real.run_on(driver)

    def _begin(self, driver: Driver) -> None:
        if driver.kernel_log_state != WATCHED:
            self.blind_spots.append(f"kernel messages were not watched: {driver.kernel_log_state}")
        facts = self._examined.recorded
        self._ledger.place(self._place.target, self._place.risk, facts)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Driver]:
        """Connect to a new worker; probe the place the first time.

        If its host is killed from outside meanwhile, connect to another one.
        """
        for tries_left in reversed(range(TRIES)):
            with self._place.open() as link:
                try:
                    driver = self._driver(link)
                except LinkLostError as lost:
                    if tries_left and was_killed(lost):
                        continue
                    raise
                yield driver
                return

    def _driver(self, link: Link) -> Driver:
        """Connect to a new worker; probe the place the first time.

        :raises BootFailed: the kernel died or hung before the first scenario
        """
        try:
            driver = Driver(link, self._place.timing)
            if self._preflight is None:
                self._preflight = self._examine(driver)
                self._settling.begin(self._preflight.profile)
        except LinkLostError as lost:
            if lost.crash is None and not lost.hung:
                raise
            report = lost.crash.report.splitlines() if lost.crash else []
            where = self._place.target.description
            message = f"{where}: lost before the first scenario: {lost}"
            raise BootFailed(message, tuple(report)) from lost
        return driver

    def _examine(self, driver: Driver) -> Preflight:
        recorded = self._place.recall()
        if recorded is not None:
            return Preflight.of_recorded(recorded)
        preflight = examine(driver)
        self._place.remember(preflight.recorded)
        return preflight

    @property
    def _examined(self) -> Preflight:
        assert self._preflight is not None  # noqa: S101 - set by the first _driver()
        return self._preflight

    def _plan(
        self,
        scenarios: Sequence[Scenario],
        wanted: Callable[[str], bool],
        past: Past,
    ) -> Plan:
        preflight = self._examined
        target, model_runs = self._place.target, self._settling.judging.model_runs
        made = plan(scenarios, wanted, preflight, target, past, model_runs)
        self._expect(made)
        return made

    def _expect(self, made: Plan) -> None:
        self.not_runnable += made.not_runnable
        self._settling.expect(made.planned)

    def _run_shards(self, planned: Sequence[Planned]) -> None:
        """Run all planned scenarios at an expendable place."""
        settling = self._settling
        shards = Shards(self._place, settling.judging.host)
        gate = 0 if settling.crashes_allowed else 1
        requests = [settling.request(p, gate) for p in planned]
        with contextlib.closing(shards.run(requests, settling.deadline)) as results:
            for number, running in enumerate(planned):
                if number % _BATCH == 0:
                    batch = planned[number : number + _BATCH]
                    self._ledger.intend([p.scenario.id for p in batch])
                self._progress.now(running.scenario.id)
                try:
                    result = next(results)
                except TimeoutError:
                    raise settling.time_is_up() from None
                if isinstance(result, TraceLostError):
                    settling.lost(running, result)
                else:
                    settling.completed(running, result)
                settling.check_deadline()
