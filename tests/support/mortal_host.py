"""A host in front of the model that goes down, and takes with it what was not flushed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.execution.link import LinkLostError
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from tests.support.fake_link import FakeLink, FakePlace

if TYPE_CHECKING:
    from pathlib import Path


class HostDown(Exception):
    """The machine is off; nothing of the process is left to handle this."""


@dataclass
class MortalHost(FakePlace):
    """Goes down at a fatal load, and before the scenario with the number ``down_at``."""

    down_at: int | None = None

    def open(self):
        self.boots += 1
        return MortalLink(self)


class MortalLink(FakeLink):
    """A link that dies with its host."""

    _scenarios = 0

    def _run(self, request):
        # Requests of a batch are numbered from 0; the probes' are the first batch.
        self._scenarios += self._runs >= len(PROBES)
        if self._scenarios - 1 == self._place.down_at:
            raise HostDown
        super()._run(request)

    def receive(self, timeout):
        try:
            return super().receive(timeout)
        except LinkLostError as lost:
            raise HostDown from lost


@contextmanager
def unflushed_writes_are_lost(path: Path, monkeypatch):
    """Cut a file back, if the host goes down within, to what had been flushed."""
    flushed = [path.stat().st_size]
    really = os.fdatasync

    def fdatasync(fd):
        really(fd)
        flushed[0] = os.fstat(fd).st_size

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    try:
        yield
    except HostDown:
        os.truncate(path, flushed[0])
        raise
    finally:
        monkeypatch.setattr(os, "fdatasync", really)
