"""The expressions that select scenarios; the caller decides which scenarios match a term.

    either   = both { "," both }
    both     = negated { "&" negated }
    negated  = "!" negated | "(" either ")" | term
    term     = [ KIND ":" ] GLOB

A GLOB is the shell's: ``*``, ``?``, ``[abc]``, ``[!abc]``.  A term without KIND is a glob over ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Kind(Enum):
    """What a term's glob is compared with; the value is its KIND in an expression."""

    ID = "id"
    OP = "op"
    TAG = "tag"
    HAZARD = "hazard"
    DEFECT = "defect"


@dataclass(frozen=True, slots=True)
class Term:
    """One glob.

    :ivar text: the term as the user wrote it
    :ivar place: its first character in the expression, from 0
    """

    kind: Kind
    glob: str
    text: str
    place: int


@dataclass(frozen=True, slots=True)
class Not:
    """Selects what its part does not."""

    part: Expression


@dataclass(frozen=True, slots=True)
class And:
    """Selects what all parts do."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Selects what any part does."""

    parts: tuple[Expression, ...]


Expression = Term | Not | And | Or

# A word may contain a set of characters, which may contain an exclamation mark.
_TOKEN = re.compile(r"(?P<sign>[,&!()])|(?P<word>(?:\[!?\]?[^\]\s]*\]|[^\s,&!()])+)")
# Operators of other languages, and what to write instead.
_OTHERS = {"|": ",", "||": ",", "or": ",", "and": "&", "not": "!"}
_END = "end"


@dataclass(frozen=True, slots=True)
class _Token:
    # An operator or parenthesis, or "" for the word of a glob.
    sign: str
    text: str
    place: int


def parse(text: str) -> Expression:
    """Parse an expression.

    :raises UsageError: a syntax error; the message points at it
    """
    return _Parser(text).whole()


def holds(expression: Expression, matches: Callable[[Term], bool]) -> bool:
    """Return whether an expression is true; ``matches`` is called only for terms that decide it."""
    match expression:
        case Term():
            return matches(expression)
        case Not(part):
            return not holds(part, matches)
        case And(parts):
            return all(holds(part, matches) for part in parts)
        case Or(parts):
            return any(holds(part, matches) for part in parts)


def terms(expression: Expression) -> Iterator[Term]:
    """Yield the terms from left to right."""
    match expression:
        case Term():
            yield expression
        case Not(part):
            yield from terms(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from terms(part)


def wrong(text: str, place: int, length: int, problem: str, *hints: str) -> UsageError:
    """Return the error that points at a place within an expression.

    :param length: how many characters are wrong
    :param hints: further lines, such as the valid names
    """
    mark = " " * place + "^" * max(length, 1)
    return UsageError("\n  ".join((problem, text, mark, *hints)))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*_tokens(text), _Token(_END, "", len(text))]
        self._next = 0

    def whole(self) -> Expression:
        expression = self._either()
        if self._token.sign != _END:
            raise self._unexpected("an operator or the end")
        return expression

    def _either(self) -> Expression:
        parts = [self._both()]
        while self._take(","):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self) -> Expression:
        parts = [self._negated()]
        while self._take("&"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negated(self) -> Expression:
        if self._take("!"):
            return Not(self._negated())
        if self._take("("):
            inner = self._either()
            if not self._take(")"):
                raise self._unexpected("')'")
            return inner
        token = self._token
        if token.sign or token.text in _OTHERS:
            raise self._unexpected("a term")
        self._next += 1
        return self._term(token)

    def _term(self, token: _Token) -> Term:
        before, colon, after = token.text.partition(":")
        if not colon:
            return Term(Kind.ID, before, token.text, token.place)
        kinds = {kind.value: kind for kind in Kind}
        if before not in kinds:
            raise wrong(
                self._text,
                token.place,
                len(before),
                f"unknown kind of term {before!r}",
                f"valid: {', '.join(kinds)}",
            )
        if not after:
            end = token.place + len(token.text)
            raise wrong(self._text, end, 1, f"{token.text!r}: expected a glob after the colon")
        return Term(kinds[before], after, token.text, token.place)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, sign: str) -> bool:
        if self._token.sign != sign:
            return False
        self._next += 1
        return True

    def _unexpected(self, want: str) -> UsageError:
        token = self._token
        found = "the end" if token.sign == _END else repr(token.text)
        problem = f"expected {want}, found {found}"
        hints = [f"write {_OTHERS[token.text]!r}"] if token.text in _OTHERS else []
        return wrong(self._text, token.place, len(token.text), problem, *hints)


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _TOKEN.match(text, place)
        assert found is not None  # noqa: S101 - every character is an operator or part of a word
        yield _Token(found["sign"] or "", found.group(), place)
        place = found.end()
