"""What a worker of a fleet is told to run: a shard of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import from_json, to_json


@dataclass(frozen=True, slots=True)
class Order:
    """One shard of a run.

    :ivar campaign: id of the run
    :ivar shard: id of the shard, unique in the campaign and among its attempts
    :ivar tool: the kvmprobe that plans the run; no other one runs it
    :ivar words: the command line of `run`, without the scenarios
    :ivar scenarios: their ids
    :ivar real: they run on the worker's own kernel, which they can crash
    """

    campaign: str
    shard: str
    tool: str
    words: tuple[str, ...]
    scenarios: tuple[str, ...]
    real: bool

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(to_json(Order, self))

    @classmethod
    def of(cls, text: str) -> Order:
        """Read what :meth:`text` wrote.

        :raises ScenarioError: it is something else
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ScenarioError(f"an order for a worker: {error}") from error
        return from_json(Order, data)
