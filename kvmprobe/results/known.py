"""What is known about each defect; read from ``known_defects.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class KnownDefect:
    """One entry of the file."""

    id: str
    behaviour: Behaviour
    title: str
    status: str
    reference: str
    fixed_in: str
    cve: str = ""

    def label(self, kernel: str = "") -> str:
        """Return the short form: ``CVE-2026-23005 (B1), fixed in 6.12.67`` or ``O1, open``.

        :param kernel: release of the kernel that has it; of several fixes its series' is named
        """
        name = f"{self.cve} ({self.id})" if self.cve else self.id
        return (
            f"{name}, fixed in {self._fix(kernel)}" if self.fixed_in else f"{name}, {self.status}"
        )

    def _fix(self, kernel: str) -> str:
        series = ".".join(kernel.split(".")[:2])
        own = [v for v in self.fixed_in.split(", ") if v.startswith(f"{series}.") and series]
        return own[0] if own else self.fixed_in


@cache
def known_defects() -> dict[Behaviour, KnownDefect]:
    """Return the entries by behaviour."""
    text = (files("kvmprobe.results") / "known_defects.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["defect"]
    defects = [
        KnownDefect(**entry | {"behaviour": Behaviour[entry["behaviour"]]}) for entry in entries
    ]
    return {defect.behaviour: defect for defect in defects}


def label(known: Iterable[str], kernel: str) -> str:
    """Return what is known of a divergence, as it stands behind a verdict.

    ``known, O1, open``; ``known, CVE-2026-23005 (B1), fixed in 6.12.67``; ``not known``.
    """
    labels = [by_id(defect).label(kernel) for defect in known]
    return f"known, {' and '.join(labels)}" if labels else "not known"


def by_id(defect_id: str) -> KnownDefect:
    """Return an entry by its identifier."""
    return next(d for d in known_defects().values() if d.id == defect_id)
