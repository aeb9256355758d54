"""Documents that the model must not judge, in ``tests/transcripts/refused``, and recorded ones.

A file has a list of ops that come ``before``.  Each of its cases has more ``ops``, and says why the
last one is ``refused`` after the others; or ``not_judged``: a kernel may give any answer to it; or
``judged``, at the edge of what is not.
``host`` names the transcript whose host it is; by default it is the example host that every
document is checked against.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import ScenarioError
from kvmprobe.execution.preflight import profile_of
from kvmprobe.model.outcome import NotCovered
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.results.transcript import Transcript
from kvmprobe.scenarios.document import check_domain
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.ops import decode
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Outcome

TRANSCRIPTS = Path(__file__).parent.parent / "tests" / "transcripts"


@dataclass(frozen=True)
class Accepted:
    """A recorded document."""

    scenario: Scenario
    host: HostProfile

    def is_right(self) -> bool:
        """Return True if the model can judge each op."""
        return not _refusal(self.scenario, self.host)


@dataclass(frozen=True)
class Refused:
    """Ops of which the last one must be refused.

    :ivar why: what makes it one that the model cannot judge, with the source
    """

    name: str
    why: str
    scenario: Scenario
    host: HostProfile

    @property
    def path(self) -> str:
        """The place of that op in the document."""
        return f"$.steps[{len(self.scenario.steps) - 1}].op"

    def is_right(self) -> bool:
        """Return True if the last op is refused, and no other."""
        return _refusal(self.scenario, self.host).startswith(f"{self.path}: ")


class NotJudged(Refused):
    """Ops of which the last one must be accepted, with any answer."""

    def is_right(self) -> bool:
        """Return True if that is so."""
        outcome = self._last_outcome()
        return isinstance(outcome, NotCovered)

    def _last_outcome(self) -> Outcome | None:
        domain = Domain(self.host)
        try:
            steps = [domain.follow(op) for _, op in self.scenario.ops()]
        except ScenarioError:
            return None
        return steps[-1].outcome


class Judged(NotJudged):
    """Ops of which the last one must be accepted, and its answer compared."""

    def is_right(self) -> bool:
        """Return True if that is so."""
        outcome = self._last_outcome()
        return outcome is not None and not isinstance(outcome, NotCovered)


_KINDS = {"refused": Refused, "not_judged": NotJudged, "judged": Judged}


def _refusal(scenario: Scenario, host: HostProfile) -> str:
    try:
        check_domain(scenario, host)
    except ScenarioError as error:
        return str(error)
    return ""


def refused_documents() -> Iterator[Refused]:
    """Yield each case of each file."""
    for path in sorted((TRANSCRIPTS / "refused").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        host = _host(content.get("host", ""))
        for number, case in enumerate(content["cases"]):
            kind, why = next((_KINDS[name], why) for name, why in case.items() if name in _KINDS)
            ops = [decode(op) for op in (*content["before"], *case["ops"])]
            steps = tuple(ScenarioStep(op) for op in ops)
            name = f"{path.stem}[{number}]"
            yield kind(name, why, Scenario(name, "", "", steps), host)


def accepted_documents(transcripts: Iterable[Transcript]) -> Iterator[Accepted]:
    """Yield the recorded scenarios that were documents."""
    for transcript in transcripts:
        host = _host_of(transcript)
        for entry in transcript.entries:
            if entry.scenario.family == "document":
                yield Accepted(entry.scenario, host)


@cache
def _host(transcript: str) -> HostProfile:
    if not transcript:
        return sapphire_rapids()
    content = lzma.decompress((TRANSCRIPTS / f"{transcript}.xz").read_bytes())
    document = json.loads(content.partition(b"\n")[0])
    # Its scenarios take long to read.
    return _host_of(
        Transcript.from_document({**document, "ops": [], "rows": [], "entries": []}, b"")
    )


def _host_of(known: Transcript) -> HostProfile:
    return replace(profile_of(known.facts), behaviours=known.behaviours)
