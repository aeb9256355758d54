"""One line of `kvmprobe probe` about this host: a finding, its severity, what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Readiness(Enum):
    """Whether the host is ready for an unattended run, as far as one topic goes."""

    FINE = "fine"
    WORTH_KNOWING = "worth knowing"
    NOT_READY = "not ready"


@dataclass(frozen=True, slots=True)
class Advice:
    """A finding about one topic.

    :ivar topic: stable name, which `probe --json` has as well
    :ivar remedy: what to do about it; empty if nothing
    """

    topic: str
    readiness: Readiness
    finding: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return a JSON object."""
        return {
            "topic": self.topic,
            "readiness": self.readiness.value,
            "finding": self.finding,
            "remedy": self.remedy,
        }


def fine(topic: str, finding: str) -> Advice:
    """Return a finding that needs no action."""
    return Advice(topic, Readiness.FINE, finding)


def worth_knowing(topic: str, finding: str, remedy: str = "") -> Advice:
    """Return a finding that does not prevent a run."""
    return Advice(topic, Readiness.WORTH_KNOWING, finding, remedy)


def not_ready(topic: str, finding: str, remedy: str) -> Advice:
    """Return a finding to fix before an unattended run."""
    return Advice(topic, Readiness.NOT_READY, finding, remedy)
