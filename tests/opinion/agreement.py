"""Compares the second model with what real kernels answered, and with the first model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.judge.compare import compare
from kvmprobe.model.outcome import OneOf
from tests.opinion.answer import Topic
from tests.opinion.reader import Reader
from tests.support.fake_kernel import reply_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Outcome, Step
    from kvmprobe.results.trace import Reply
    from kvmprobe.results.transcript import Entry
    from kvmprobe.scenarios.ops import Op
    from tests.opinion.answer import Opinion

FIRST_MODEL = "first model"
# The first model does not say how many registers KVM_GET_XCRS returns.
_LEAST_CONTESTED = {Topic.XCR0: 0.7}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The second model against a kernel or the first model, in one call.

    :ivar against: the transcript's name, or FIRST_MODEL
    :ivar scenario: the scenario's id; the calls so far if they have no id
    :ivar defects: ids of the known defects that the scenario shows
    """

    against: str
    scenario: str
    call: str
    topic: str
    text: str
    defects: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.against}: {self.scenario}: {self.call}: {self.topic}: {self.text}"


@dataclass(slots=True)
class Comparison:
    """What was found, and how much was compared: results and parts of outputs, by topic.

    :ivar compared: claims of the second model that a reply was compared with
    :ivar tried: claims whose contrary was put to the first model, one in each call
    :ivar contested: those of them whose contrary the first model does not accept
    """

    found: list[Disagreement] = field(default_factory=list)
    compared: Counter[Topic] = field(default_factory=Counter)
    tried: Counter[Topic] = field(default_factory=Counter)
    contested: Counter[Topic] = field(default_factory=Counter)
    steps: int = 0


def with_kernel(name: str, host: HostProfile, entry: Entry, comparison: Comparison) -> None:
    """Compare with the replies of a kernel in one scenario."""
    reader = Reader(host)
    scenario = entry.scenario
    for step, seen in zip(scenario.steps, entry.trace.steps, strict=False):
        for op, reply in zip(step.ops, seen.replies, strict=True):
            opinion = reader.read(op.lower(host), reply)
            comparison.steps += 1
            comparison.compared.update(opinion.topics(reply))
            comparison.found += (
                Disagreement(name, scenario.id, op.call_name, topic, text, entry.known)
                for topic, text in opinion.objections(reply)
            )


def with_first_model(
    host: HostProfile, steps: Iterable[tuple[Op, Step]], comparison: Comparison, name: str
) -> None:
    """Compare with the first model along calls that it has judged.

    Both agree if the first model accepts its own reply with all that the second one says put into
    it.
    """
    reader = Reader(host)
    for op, step in steps:
        outcome = step.outcome
        replies = _replies(outcome, op, host)
        opinion = reader.read(op.lower(host), replies[0])
        comparison.steps += 1
        agreed = (opinion.put_into(reply) for reply in replies)
        accepted = next((r for r in agreed if compare(outcome, op, r, host) is None), None)
        if accepted is None:
            comparison.found += _differing(op, name, opinion, replies[0])
        else:
            _contest(op, outcome, host, opinion, accepted, comparison)


def _contest(
    op: Op,
    outcome: Outcome,
    host: HostProfile,
    opinion: Opinion,
    accepted: Reply,
    comparison: Comparison,
) -> None:
    """Put the contrary of one claim, in turn, to the first model."""
    topics = list(opinion.topics(accepted))
    comparison.compared.update(topics)
    if topics:
        topic, contrary = opinion.contrary(comparison.steps % len(topics), accepted)
        comparison.tried[topic] += 1
        if compare(outcome, op, contrary, host) is not None:
            comparison.contested[topic] += 1


def without_contest(comparison: Comparison) -> list[str]:
    """Return the topics in which the first model accepts a contrary: it has no opinion there."""
    return [
        f"{topic}: {comparison.contested[topic]} of {tried}"
        for topic, tried in comparison.tried.items()
        if comparison.contested[topic] < tried * _LEAST_CONTESTED.get(topic, 0.99)
    ]


def _replies(outcome: Outcome, op: Op, host: HostProfile) -> list[Reply]:
    """Return a reply for each answer that the first model allows."""
    count = len(outcome.choices) if isinstance(outcome, OneOf) else 1
    return [reply_of(outcome, op, host, legal) for legal in range(count)]


def _differing(op: Op, name: str, opinion: Opinion, reply: Reply) -> Iterator[Disagreement]:
    """Yield what the first model's reply has otherwise."""
    objections = list(opinion.objections(reply)) or [(opinion.topic, "no answer of several")]
    for topic, text in objections:
        yield Disagreement(FIRST_MODEL, name, op.call_name, topic, text)
