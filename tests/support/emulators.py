"""The processes of emulated hosts below another process."""

from __future__ import annotations

import psutil


def children_of(pid=None):
    """Return the processes below one, by default below this one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def emulators_among(processes):
    return [process for process in processes if is_emulator(process)]


def is_emulator(process):
    try:
        return process.name() == "bochs" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
