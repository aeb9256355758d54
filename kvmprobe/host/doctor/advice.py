"""One line of the doctor's: what there is to know, how grave it is, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Readiness(Enum):
    """Whether a host can be left alone, as far as one topic goes."""

    FINE = "fine"
    WORTH_KNOWING = "worth knowing"
    NOT_READY = "not ready"


@dataclass(frozen=True, slots=True)
class Advice:
    """What is the case with one topic.

    :ivar topic: stable name, for programs too
    :ivar remedy: what to do about it; empty where there is nothing to do
    """

    topic: str
    readiness: Readiness
    finding: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return {
            "topic": self.topic,
            "readiness": self.readiness.value,
            "finding": self.finding,
            "remedy": self.remedy,
        }


def fine(topic: str, finding: str) -> Advice:
    """Return that all is well."""
    return Advice(topic, Readiness.FINE, finding)


def worth_knowing(topic: str, finding: str, remedy: str = "") -> Advice:
    """Return what does not stand in the way of a run."""
    return Advice(topic, Readiness.WORTH_KNOWING, finding, remedy)


def not_ready(topic: str, finding: str, remedy: str) -> Advice:
    """Return what an unattended run should not begin with."""
    return Advice(topic, Readiness.NOT_READY, finding, remedy)
