"""The known defects of the kernel, from ``known_defects.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.releases import release_of, series_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class KnownDefect:
    """One entry of the file, which describes the fields."""

    id: str
    behaviour: Behaviour
    title: str
    status: str
    files: tuple[str, ...]
    subject: str
    summary: str
    expected: str
    fixed_in: tuple[str, ...] = ()
    unfixed_series: tuple[str, ...] = ()
    cause: str = ""
    commit: str = ""
    commit_subject: str = ""
    note: str = ""
    reported: str = ""
    cve: str = ""
    panics_in: str = ""
    logs: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The names by which it can be selected: id, behaviour, CVE, function of the panic."""
        return frozenset({self.id, self.behaviour.name, self.cve, self.panics_in} - {""})

    @property
    def reference(self) -> str:
        """The commit that fixes it, or the assessment of an open one."""
        return f"Linux {self.fix}" if self.commit else self.note

    @property
    def fix(self) -> str:
        """The commit that fixes it, with its subject."""
        return f'commit {self.commit} ("{self.commit_subject}")'

    @property
    def releases(self) -> str:
        """The releases with the fix, and the series without it: ``6.4; not in 6.1.y``."""
        lacking = f"; not in {', '.join(self.unfixed_series)}" if self.unfixed_series else ""
        return f"{', '.join(self.fixed_in)}{lacking}"

    def is_fixed_in(self, kernel: str) -> bool:
        """Return True if that release has the fix, according to its number."""
        if f"{_dotted(series_of(kernel))}.y" in self.unfixed_series or not self.fixed_in:
            return False
        own = [v for v in self.fixed_in if series_of(v) == series_of(kernel)]
        return release_of(kernel) >= release_of((own or self.fixed_in)[-1])

    def label(self, kernel: str = "") -> str:
        """Return the short form: ``CVE-2026-23005 (B1), fixed in 6.12.67`` or ``O1, open``.

        :param kernel: release of a kernel with the defect; the fix of its series is named, if any
        """
        name = f"{self.cve} ({self.id})" if self.cve else self.id
        return (
            f"{name}, fixed in {self.fix_for(kernel)}"
            if self.fixed_in
            else f"{name}, {self.status}"
        )

    def fix_for(self, kernel: str) -> str:
        """Return the first fixed release of a kernel's own series, or all fixed releases."""
        own = [v for v in self.fixed_in if series_of(v) == series_of(kernel)]
        return own[0] if own else self.releases


@cache
def known_defects() -> dict[Behaviour, KnownDefect]:
    """Return the entries by behaviour."""
    text = (files("kvmprobe.results") / "known_defects.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["defect"]
    return {defect.behaviour: defect for defect in map(_of_entry, entries)}


def _of_entry(entry: Mapping[str, Any]) -> KnownDefect:
    lists = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
    return KnownDefect(**{**entry, **lists, "behaviour": Behaviour[entry["behaviour"]]})


def label(known: Iterable[str], kernel: str) -> str:
    """Return the known defects that explain a failure, to follow a verdict.

    ``known, O1, open``; ``known, CVE-2026-23005 (B1), fixed in 6.12.67``; ``not known``.
    """
    labels = [by_id(defect).label(kernel) for defect in known]
    return f"known, {' and '.join(labels)}" if labels else "not known"


def by_id(defect_id: str) -> KnownDefect:
    """Return an entry by its identifier."""
    return next(d for d in known_defects().values() if d.id == defect_id)


def _dotted(numbers: Iterable[int]) -> str:
    return ".".join(map(str, numbers))
