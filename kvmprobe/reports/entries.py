"""Named texts as aligned lines for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WIDTH = 100


def entry_lines(entries: Mapping[str, str], column: int) -> Iterator[str]:
    """Yield ``name: text`` with the texts aligned and wrapped; an empty text is left out.

    :param column: where the texts begin
    """
    for name, text in entries.items():
        yield from textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"  {name}:".ljust(column),
            subsequent_indent=" " * column,
            break_long_words=False,
            break_on_hyphens=False,
        )
