"""JSON from outside: objects keep all their members in order, so that duplicates are seen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from kvmprobe.errors import ScenarioError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 1 << 20
DEEPEST = 32
_MOST_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Members:
    """An object's members, in order."""

    pairs: list[tuple[str, Any]]


class HugeNumber(float):
    """A number that is not an integer, or too long."""


def content_of(path: Path) -> bytes:
    """Return what a file has; of one that is too large, just more than :func:`parse` takes.

    :raises UsageError: it cannot be read
    """
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def parse(content: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the value; objects as :class:`Members`.

    :raises ScenarioError: it is not JSON, or larger than a scenario can be; the message has the
        place
    """
    if len(content) > MOST_BYTES:
        raise ScenarioError(f"{len(content)} bytes; a scenario has at most {MOST_BYTES}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"not JSON: byte {error.start} is not UTF-8") from error
    _check_depth(text)
    try:
        return json.loads(
            text, object_pairs_hook=Members, parse_int=_integer, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ScenarioError(f"not JSON: {place}: {error.msg}") from error


def plain(value: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    """Return JSON with its objects as dictionaries.

    :raises ScenarioError: an object has a member twice
    """
    if isinstance(value, list):
        return [plain(item, f"{path}[{place}]") for place, item in enumerate(value)]
    if not isinstance(value, Members):
        return value
    names = Counter(name for name, _ in value.pairs)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ScenarioError(f"{path}.{twice[0]:.40}: is there twice")
    return {name: plain(member, f"{path}.{name:.40}") for name, member in value.pairs}


def _integer(digits: str) -> int | HugeNumber:
    return int(digits) if len(digits) <= _MOST_DIGITS else HugeNumber("inf")


def _constant(name: str) -> NoReturn:
    raise ScenarioError(f"{name} is not JSON")


def _check_depth(text: str) -> None:
    """Refuse deep nesting before a parser that recurses sees it."""
    depth = line = 0
    in_string = escaped = False
    for place, character in enumerate(text):
        line += character == "\n"
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > DEEPEST:
                column = place - text.rfind("\n", 0, place)
                raise ScenarioError(
                    f"line {line + 1}, column {column}: nested more than {DEEPEST} deep"
                )
        elif character in "]}":
            depth -= 1
