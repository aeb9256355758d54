"""What is known about each defect; read from ``known_defects.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from kvmprobe.model.behaviours import Behaviour


@dataclass(frozen=True, slots=True)
class KnownDefect:
    """One entry of the file."""

    id: str
    behaviour: Behaviour
    title: str
    status: str
    reference: str
    fixed_in: str

    @property
    def label(self) -> str:
        """The short form behind a verdict: ``B1, fixed in 6.12.67`` or ``O1, open``."""
        return (
            f"{self.id}, fixed in {self.fixed_in}" if self.fixed_in else f"{self.id}, {self.status}"
        )


@cache
def known_defects() -> dict[Behaviour, KnownDefect]:
    """Return the entries by behaviour."""
    text = (files("kvmprobe.results") / "known_defects.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["defect"]
    defects = [
        KnownDefect(**entry | {"behaviour": Behaviour[entry["behaviour"]]}) for entry in entries
    ]
    return {defect.behaviour: defect for defect in defects}


def by_id(defect_id: str) -> KnownDefect:
    """Return an entry by its identifier."""
    return next(d for d in known_defects().values() if d.id == defect_id)
