"""Describes the tasks of a scenario that does not end, and kills them.

Root may read everything in it; other users only see the states.
"""

from __future__ import annotations

import contextlib
import os
import signal
from enum import Enum
from typing import Any


class Overrun(Enum):
    """Which deadline was missed."""

    SCENARIO = "scenario"
    STEP = "step"


# A scenario's tasks, as pairs of process and thread.
Tasks = list[tuple[int, int]]
_PROC = "/proc"
_ENDED = ("Z", "X")


def threads_of_tree(root: int) -> Tasks:
    """Return every thread of a process and of its descendants.

    On a kernel without CONFIG_PROC_CHILDREN, only those of the process itself.
    """
    found: Tasks = []
    waiting = [root]
    while waiting:
        pid = waiting.pop(0)
        for tid in _threads(pid):
            found.append((pid, tid))
            with contextlib.suppress(OSError):
                waiting += map(int, _text(f"{_folder((pid, tid))}/children").split())
    return found


def _threads(pid: int) -> list[int]:
    try:
        return sorted(map(int, os.listdir(f"{_PROC}/{pid}/task")))  # noqa: PTH208
    except OSError:
        return []


def alive(tasks: Tasks) -> Tasks:
    """Return the tasks that have not ended; a zombie has ended."""
    return [task for task in tasks if not _state(task).startswith(_ENDED)]


def describe(tasks: Tasks) -> list[dict[str, Any]]:
    """Return the fields of :class:`kvmprobe.results.hang.HungTask` for each task."""
    return [_look(task) for task in tasks]


def kill(tasks: Tasks) -> None:
    """Send SIGKILL to the processes."""
    for pid in dict.fromkeys(pid for pid, _ in tasks):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _look(task: tuple[int, int]) -> dict[str, Any]:
    pid, tid = task
    folder = _folder(task)
    return {
        "pid": pid,
        "tid": tid,
        "name": _read(f"{folder}/comm"),
        "state": _state(task),
        "wchan": _read(f"{folder}/wchan"),
        "syscall": _read(f"{folder}/syscall"),
        "stack": _read(f"{folder}/stack").splitlines(),
    }


def _state(task: tuple[int, int]) -> str:
    for line in _read(f"{_folder(task)}/status").splitlines():
        name, _, value = line.partition(":\t")
        if name == "State":
            return value
    return "X (gone)"


def _folder(task: tuple[int, int]) -> str:
    pid, tid = task
    return f"{_PROC}/{pid}/task/{tid}"


def _read(path: str) -> str:
    try:
        return _text(path)
    except OSError as error:
        return f"not readable: {error.strerror}"


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is much to load
        return file.read().strip()
