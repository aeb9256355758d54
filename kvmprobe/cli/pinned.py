"""``run --pin RUN``: only the failure that another run shows counts as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import outcome
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.results.run_document import read_run
from kvmprobe.search.signature import Explained, Signature, signatures_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kvmprobe.results.record import ScenarioRecord


@dataclass(frozen=True, slots=True)
class Pin:
    """What identifies a failure on several kernels.

    Two defects can end in the same panic, with one signature, so known defects count first.

    :ivar known: ids of the known defects that explain it; none if it is not known
    :ivar signature: its most telling signature
    """

    known: frozenset[str]
    signature: Signature

    @classmethod
    def of(cls, record: ScenarioRecord) -> Pin | None:
        """Return what identifies the failure of a scenario; None if it has not failed."""
        for signature in signatures_of(record, Explained.BY_NOTHING):
            return cls(frozenset(record.known), signature)
        return None

    def is_shown_by(self, record: ScenarioRecord) -> bool:
        """Return True if a scenario shows this failure, whatever else it shows."""
        if self.known and record.known:
            return self.known <= set(record.known)
        return self.signature in signatures_of(record, Explained.BY_NOTHING)

    def __str__(self) -> str:
        """Return it in one line."""
        return "; ".join(filter(None, (" and ".join(sorted(self.known)), str(self.signature))))


def pinned_by(path: Path) -> frozenset[Pin]:
    """Return what identifies the failures of a run.

    :raises UsageError: it cannot be read, or nothing failed in it
    """
    found = frozenset(filter(None, map(Pin.of, read_run(path).records)))
    if not found:
        raise UsageError(f"--pin {path}: no scenario of that run failed, so it pins nothing")
    return found


def pinned_outcome(records: Collection[ScenarioRecord], pinned: Collection[Pin]) -> ExitCode:
    """Return the status of a run in which only these failures count.

    With another failure alone nothing can be said of the pinned one.
    """
    if any(pin.is_shown_by(record) for record in records for pin in pinned):
        return ExitCode.DIVERGED
    code = outcome({record.verdict for record in records})
    return ExitCode.NOTHING_RAN if code is ExitCode.DIVERGED else code
