"""The commutation atlas of a kernel: for each two calls, what their order matters for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "kvmprobe atlas 1"
FILE = "atlas.json"


class Order(StrEnum):
    """What the order of two calls does."""

    COMMUTES = "both orders return and leave the same"
    LAST_WINS = "both calls write the same state, and the later one wins"
    ANSWERS = "a call returns something else in one of the orders"
    SILENT = "both orders return the same and leave something else"
    FATAL = "the host dies in one of the orders"
    UNTRIED = "no start allows both orders"

    @property
    def sign(self) -> str:
        """The sign of a cell."""
        return _SIGNS[self]


_SIGNS = {
    Order.COMMUTES: ".",
    Order.LAST_WINS: "=",
    Order.ANSWERS: "E",
    Order.SILENT: "!",
    Order.FATAL: "X",
    Order.UNTRIED: " ",
}
# What is worth telling about a pair, the most telling first.
TELLING = (Order.FATAL, Order.SILENT, Order.ANSWERS, Order.LAST_WINS, Order.COMMUTES)


@dataclass(frozen=True, slots=True)
class OneOrder:
    """What two calls did in one order.

    :ivar results: of the first and of the second call; -errno
    :ivar crash: the headline of the kernel's report; empty if the host lives
    """

    first: str
    second: str
    results: tuple[int, ...]
    crash: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of calls.

    :ivar start: the smallest start in which the order matters as it does; empty if none allows both
    :ivar differs: what reads differently afterwards
    :ivar known: ids of the known defects that explain what one of the orders does
    """

    one: str
    other: str
    order: Order
    start: str = ""
    orders: tuple[OneOrder, ...] = ()
    differs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Both calls."""
        return f"{self.one} {self.other}"


@dataclass(frozen=True, slots=True)
class Atlas:
    """All pairs on one kernel.

    :ivar calls: the calls by name, as they are shown
    :ivar starts: the starts by name: the calls that lead there
    """

    kernel: str
    calls: dict[str, str]
    starts: dict[str, list[str]]
    cells: tuple[Cell, ...]
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return it as the content of ``atlas.json``."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, directory: Path) -> Atlas:
        """Read the atlas in a directory.

        :raises UsageError: there is none, or it is of another version
        """
        path = directory / FILE
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                raise UsageError(f"{path}: not of this version, {FORMAT!r}; make it again")
            cells = tuple(map(_cell, found.pop("cells")))
            return cls(**found, cells=cells)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UsageError(f"{path}: no atlas: {error!r}") from error


def _cell(found: dict[str, Any]) -> Cell:
    orders = tuple(
        OneOrder(**{**each, "results": tuple(each["results"])}) for each in found["orders"]
    )
    return Cell(
        **{
            **found,
            "order": Order(found["order"]),
            "orders": orders,
            "differs": tuple(found["differs"]),
            "known": tuple(found["known"]),
        }
    )
