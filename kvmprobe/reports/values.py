"""Values, results and sources as text."""

from __future__ import annotations

from errno import errorcode
from typing import TYPE_CHECKING

from kvmprobe.abi.fields import kind_of
from kvmprobe.abi.layout import FieldKind
from kvmprobe.abi.numbers import exit_name
from kvmprobe.errors import errno_name
from kvmprobe.model.guest import vector_name
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.rule import Rule
    from kvmprobe.scenarios.ops import Op

_SHOWN: Mapping[FieldKind, Callable[[int], str]] = {
    FieldKind.BITMAP: names,
    FieldKind.HEX: lambda value: f"{value:#x}" if value else "0",
    FieldKind.COUNT: str,
    FieldKind.EXIT_REASON: exit_name,
    FieldKind.VECTOR: vector_name,
}
DESCRIPTOR = "a descriptor"
# Kinds whose values are shown by name, without a number.
NAMED = frozenset({FieldKind.EXIT_REASON, FieldKind.VECTOR})


def value_text(name: str, value: int) -> str:
    """Return a value by the kind of its field: a bitmap with its components, a count."""
    return _SHOWN[kind_of(name)](value)


def short_text(name: str, value: int) -> str:
    """Return a named value without the names of its bits."""
    is_bitmap = kind_of(name) is FieldKind.BITMAP
    return _SHOWN[FieldKind.HEX if is_bitmap else kind_of(name)](value)


def fields_text(fields: Mapping[str, int]) -> str:
    """Return named values: ``XCR0=0x7 (FP|SSE|YMM), nent=36``."""
    return ", ".join(f"{name}={value_text(name, value)}" for name, value in fields.items())


def result_text(result: int) -> str:
    """Return the result of a call: ``1``, or ``-EINVAL (22)``."""
    return f"-{errno_name(-result)}" if result < 0 else str(result)


def returned(result: int) -> str:
    """Return the result of a call with a verb: ``returns 1``, or ``-EINVAL (22)``."""
    return result_text(result) if result < 0 else f"returns {result}"


def call_text(op: Op | None) -> str:
    """Return a call with its arguments; empty if it is unknown."""
    return op.text if op else ""


def call_name(op: Op | None) -> str:
    """Return the name of the system call or ioctl; empty if it is unknown."""
    return op.call_name if op else ""


def errno_symbol(result: int) -> str:
    """Return a result as kernel developers write it: ``-EINVAL`` or ``1``."""
    return f"-{errorcode.get(-result, -result)}" if result < 0 else str(result)


def rule_text(rule: Rule, read_by: Rule | None = None) -> str:
    """Return a rule with the numbers of its invariants and its first source.

    :param read_by: the rule of the observer, if one shows it
    """
    numbers = f" ({', '.join(rule.invariants)})" if rule.invariants else ""
    text = f"{rule.statement}{numbers}: {rule.sources[0]}"
    return f"{text}; read by {rule_text(read_by)}" if read_by else text


def hex_bytes(content: bytes, size: int) -> str:
    """Return the first bytes of ``size`` bytes, in groups of four."""
    shown = content.hex(" ", 4)
    return f"{shown} ..." if size > len(content) else shown
