"""The tasks of a scenario at its deadline, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.values import call_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.results.hang import Hang, HungTask


def hang_lines(hang: Hang) -> Iterator[str]:
    """Yield the step, the tasks at the deadline and after SIGKILL, and the kernel's log."""
    yield f"step {hang.step}: {call_text(hang.during)}"
    yield from _task_lines("at the deadline", hang.tasks)
    yield from _task_lines("after SIGKILL", hang.unkillable)
    if hang.kernel_log:
        yield "  the kernel's log since the last completed step:"
        yield from (f"    {line}" for line in hang.kernel_log)


def _task_lines(when: str, tasks: tuple[HungTask, ...]) -> Iterator[str]:
    for task in tasks:
        yield f"  {when}: {task.name}, process {task.pid}, thread {task.tid}: {task.state}"
        yield f"    wchan {task.wchan}, syscall {task.syscall}"
        yield from (f"    {frame}" for frame in task.stack)
