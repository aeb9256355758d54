"""What is known about each defect; read from ``known_defects.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.releases import release_of, series_of

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class KnownDefect:
    """One entry of the file, which says what each field is."""

    id: str
    behaviour: Behaviour
    title: str
    status: str
    fixed_in: str
    files: tuple[str, ...]
    subject: str
    summary: str
    expected: str
    cause: str = ""
    commit: str = ""
    commit_subject: str = ""
    note: str = ""
    reported: str = ""
    cve: str = ""
    panics_in: str = ""

    @property
    def names(self) -> frozenset[str]:
        """What it is called: id, behaviour, CVE, and the function in which the host dies."""
        return frozenset({self.id, self.behaviour.name, self.cve, self.panics_in} - {""})

    @property
    def reference(self) -> str:
        """The commit that fixes it, or what is thought of it."""
        return f'Linux commit {self.commit} ("{self.commit_subject}")' if self.commit else self.note

    @property
    def fixes(self) -> list[str]:
        """Releases that have the fix first, by series; the last is mainline's."""
        return [v for v in self.fixed_in.partition("; not in ")[0].split(", ") if v]

    @property
    def unfixed_series(self) -> list[str]:
        """Stable series that need the fix and lack it, as ``6.1.y``."""
        return [v for v in self.fixed_in.partition("; not in ")[2].split(", ") if v]

    def is_fixed_in(self, kernel: str) -> bool:
        """Return True if a kernel of that release has the fix, by its number."""
        if f"{_dotted(series_of(kernel))}.y" in self.unfixed_series or not self.fixes:
            return False
        own = [v for v in self.fixes if series_of(v) == series_of(kernel)]
        return release_of(kernel) >= release_of((own or self.fixes)[-1])

    def label(self, kernel: str = "") -> str:
        """Return the short form: ``CVE-2026-23005 (B1), fixed in 6.12.67`` or ``O1, open``.

        :param kernel: release of the kernel that has it; of several fixes its series' is named
        """
        name = f"{self.cve} ({self.id})" if self.cve else self.id
        return (
            f"{name}, fixed in {self.fix_for(kernel)}"
            if self.fixed_in
            else f"{name}, {self.status}"
        )

    def fix_for(self, kernel: str) -> str:
        """Return the first fixed release of a kernel's own series, or all."""
        own = [v for v in self.fixes if series_of(v) == series_of(kernel)]
        return own[0] if own else self.fixed_in


@cache
def known_defects() -> dict[Behaviour, KnownDefect]:
    """Return the entries by behaviour."""
    text = (files("kvmprobe.results") / "known_defects.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["defect"]
    defects = [
        KnownDefect(
            **entry | {"behaviour": Behaviour[entry["behaviour"]], "files": tuple(entry["files"])}
        )
        for entry in entries
    ]
    return {defect.behaviour: defect for defect in defects}


def label(known: Iterable[str], kernel: str) -> str:
    """Return what is known of a divergence, as it follows a verdict.

    ``known, O1, open``; ``known, CVE-2026-23005 (B1), fixed in 6.12.67``; ``not known``.
    """
    labels = [by_id(defect).label(kernel) for defect in known]
    return f"known, {' and '.join(labels)}" if labels else "not known"


def by_id(defect_id: str) -> KnownDefect:
    """Return an entry by its identifier."""
    return next(d for d in known_defects().values() if d.id == defect_id)


def _dotted(numbers: Iterable[int]) -> str:
    return ".".join(map(str, numbers))
