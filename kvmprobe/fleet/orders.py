"""What a worker of a fleet is told to run: a shard of a run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import from_json, to_json

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
        order = from_json(Order, data)
        for name in (order.campaign, order.shard):
            check_name(name)
        return order


def check_name(name: str) -> None:
    """Check the id of a run or a shard, by which a worker calls and removes directories.

    :raises ScenarioError: it is the name of a directory elsewhere, or of none
    """
    if not _NAME.fullmatch(name):
        raise ScenarioError(f"an order for a worker: {name!r:.80} is no id of a run or shard")
