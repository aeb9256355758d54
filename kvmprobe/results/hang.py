"""What a scenario's tasks were doing when its time was up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kvmprobe.scenarios.ops import Op  # noqa: TC001 - the codec reads the types of the fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NOWHERE = "0"


@dataclass(frozen=True, slots=True)
class HungTask:
    """One thread, in the words of ``/proc/PID/task/TID``; what may not be read there says why.

    :ivar state: ``S (sleeping)``
    :ivar wchan: the kernel function that it sleeps in; ``0`` if in none
    :ivar syscall: ``running``, or number, six arguments, stack pointer and program counter
    :ivar stack: the kernel's functions, innermost first; empty for a task that runs
    :see: Documentation/filesystems/proc.rst
    """

    pid: int
    tid: int
    name: str
    state: str
    wchan: str
    syscall: str
    stack: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Which it is, its state, and where it sleeps."""
        where = "" if self.wchan == _NOWHERE else f", in {self.wchan}"
        return f"{self.name} (thread {self.tid}): {self.state}{where}"


@dataclass(frozen=True, slots=True)
class Hang:
    """A scenario that did not end.

    :ivar tasks: before they were killed
    :ivar unkillable: those that SIGKILL did not end, some seconds after it
    :ivar kernel_log: messages since the last step that ended
    :ivar step: number of the step that did not end, from 0
    :ivar during: the op of that step
    """

    tasks: tuple[HungTask, ...]
    unkillable: tuple[HungTask, ...] = ()
    kernel_log: tuple[str, ...] = ()
    step: int = 0
    during: Op | None = None

    def note(self, late: str) -> str:
        """Return the reason that a record has, in one line.

        :param late: what did not end, within how many seconds
        """
        if not self.unkillable:
            return late
        left = "; ".join(task.place for task in self.unkillable)
        return f"unkillable: {late}, and SIGKILL did not end {left}"

    def at(self, step: int, during: Op | None) -> Hang:
        """Return it with the step that did not end."""
        return replace(self, step=step, during=during)


def hang_from_worker(data: Mapping[str, Any], kernel_log: Iterable[str]) -> Hang:
    """Return what the worker reported."""
    tasks, unkillable = (tuple(map(_task, data[name])) for name in ("tasks", "unkillable"))
    return Hang(tasks, unkillable, tuple(kernel_log))


def _task(data: Mapping[str, Any]) -> HungTask:
    return HungTask(**{**data, "stack": tuple(map(str, data["stack"]))})
