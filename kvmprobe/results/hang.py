"""What the tasks of a scenario were doing at its deadline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kvmprobe.scenarios.ops import Op  # noqa: TC001 - the codec reads the types of the fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NOWHERE = "0"


@dataclass(frozen=True, slots=True)
class HungTask:
    """One thread, as ``/proc/PID/task/TID`` shows it; for a file that cannot be read, the reason.

    :ivar state: ``S (sleeping)``
    :ivar wchan: the kernel function in which it sleeps, or ``0``
    :ivar syscall: ``running``, or number, six arguments, stack pointer and program counter
    :ivar stack: the kernel's functions, innermost first; empty for a running task
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
        """Its name, its state, and where it sleeps."""
        where = "" if self.wchan == _NOWHERE else f", in {self.wchan}"
        return f"{self.name} (thread {self.tid}): {self.state}{where}"


@dataclass(frozen=True, slots=True)
class Hang:
    """A scenario that reached its deadline.

    :ivar tasks: its tasks before they were killed
    :ivar unkillable: tasks that still exist some seconds after SIGKILL
    :ivar kernel_log: messages since the last completed step
    :ivar step: number of the step that did not end, from 0
    :ivar during: the op of that step; None if it is unknown
    """

    tasks: tuple[HungTask, ...]
    unkillable: tuple[HungTask, ...] = ()
    kernel_log: tuple[str, ...] = ()
    step: int = 0
    during: Op | None = None

    def note(self, late: str) -> str:
        """Return the reason for a record, in one line.

        :param late: what exceeded its deadline, and by which limit
        """
        if not self.unkillable:
            return late
        left = "; ".join(task.place for task in self.unkillable)
        return f"unkillable: {late}, and SIGKILL did not end {left}"

    def at(self, step: int, during: Op | None) -> Hang:
        """Return the same hang with the step that did not end."""
        return replace(self, step=step, during=during)


def hang_from_worker(data: Mapping[str, Any], kernel_log: Iterable[str]) -> Hang:
    """Return the hang that a worker reported."""
    tasks, unkillable = (tuple(map(_task, data[name])) for name in ("tasks", "unkillable"))
    return Hang(tasks, unkillable, tuple(kernel_log))


def _task(data: Mapping[str, Any]) -> HungTask:
    return HungTask(**{**data, "stack": tuple(map(str, data["stack"]))})
