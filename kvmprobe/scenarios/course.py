"""The model's steps for one host from a fresh process on, each computed once.

Scenarios begin alike; who judges many of them for the same host need not repeat their beginnings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import variants
from kvmprobe.model.machine import Machine

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Step
    from kvmprobe.scenarios.ops import Op

_MOST = 2_000


class Course:
    """Steps so far, by the state before and the op."""

    def __init__(self, host: HostProfile) -> None:
        self.host = host
        self.start = Machine.fresh(host)
        self._steps: dict[tuple[int, Op], Step] = {}

    def step(self, machine: Machine, op: Op) -> Step:
        """Return the model's step from ``start`` or from a state that an earlier step led to."""
        # LIFETIME: a state's id stays its own, for the step that led to it is kept.
        key = (id(machine), op)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = op.step(machine)
        return found

    def forget_if_long(self) -> None:
        """Drop the steps when they are many; to be called between scenarios."""
        if len(self._steps) > _MOST:
            self._steps.clear()


class Courses:
    """A course for each set of defects of a host's kernel, beside the host's own variants."""

    def __init__(self, host: HostProfile) -> None:
        self._host = replace(host, behaviours=variants(host.behaviours))
        self._courses: dict[Behaviours, Course] = {}

    def with_defects(self, defects: Behaviours = frozenset()) -> Course:
        """Return the course of the host with just these defects; to be called for each scenario."""
        course = self._courses.get(defects)
        if course is None:
            behaviours = self._host.behaviours | defects
            course = self._courses[defects] = Course(replace(self._host, behaviours=behaviours))
        course.forget_if_long()
        return course
