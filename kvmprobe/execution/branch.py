"""Scenarios that fork: a process waits behind a step, and the emulator forks its machine there.

A search visits all successors of a state with it: each is one fork and one step, whatever came
before.  Only the emulated host can do that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from kvmprobe.execution.driver import Driver, Request
from kvmprobe.execution.link import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.execution.driver import Timing
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import TraceStep
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario


class ForkingLink(Link, Protocol):
    """A link to a machine that can be forked while its worker waits for a line."""

    def fork(self) -> Self:
        """Return a link to a copy of the machine.

        :raises TemplateLost: the machine has ended or does not wait
        :raises ForkFailed: the emulator could not fork (EAGAIN, ENOMEM)
        """


class Branch:
    """A scenario so far; a context manager that ends its machine.

    :ivar steps: what each step returned, those before a fork included
    """

    def __init__(
        self, link: ForkingLink, driver: Driver, steps: tuple[TraceStep, ...] = ()
    ) -> None:
        self._link = link
        self._driver = driver
        self.steps = steps

    @classmethod
    def begin(
        cls,
        link: ForkingLink,
        timing: Timing,
        scenario: Scenario,
        later: Iterable[Op],
        host: HostProfile,
    ) -> Self:
        """Run a scenario on a new worker and leave its process waiting.

        :param link: to a worker that has not run anything; ends with this branch
        :param later: all ops that further steps may have
        :raises BranchEndedError: the scenario ended instead
        :raises TraceLostError: the host died
        """
        try:
            driver = Driver(link, timing)
            return cls(link, driver, driver.hold(Request(scenario, gate=0), later, host))
        except BaseException:
            link.__exit__()
            raise

    def fork(self) -> Branch:
        """Return a copy, on a machine of its own, that goes on from the same step.

        It ends when this one ends.
        """
        link = self._link.fork()
        return Branch(link, self._driver.on_fork(link), self.steps)

    def go_on(self, *steps: Sequence[Op]) -> tuple[TraceStep, ...]:
        """Run further steps, each with its calls, and wait again.

        :raises KeyError: an op is not among those that were named at the beginning
        :raises BranchEndedError: the scenario ended instead
        :raises TraceLostError: the host died in one of the steps
        """
        new = self._driver.go_on(steps)
        self.steps += new
        return new

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._link.__exit__(*error)
