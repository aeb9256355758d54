"""Which worker can run what: by the resources that workers offer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Resource(StrEnum):
    """Resources of workers: ``dask worker ... --resources "KVM=1 AMX=1"``."""

    KVM = "KVM"
    """Its own /dev/kvm, which one shard uses at a time."""
    AMX = "AMX"
    """It gives guests AMX."""
    LAB = "LAB"
    """The emulated host can be built and booted."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a shard runs.

    :ivar words: the command line of `run` there
    :ivar resources: what a worker must offer
    """

    words: tuple[str, ...]
    resources: frozenset[Resource]

    @property
    def real(self) -> bool:
        """True for the worker's own kernel, which a scenario can crash."""
        return Resource.KVM in self.resources

    def fits(self, offered: frozenset[str]) -> bool:
        """Return True if a worker that offers these can run it."""
        return self.resources <= offered
