"""Functions of one kernel as they are in its memory.  Pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Self

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """One symbol's code.

    :ivar module: ``kvm``, ``kvm_intel`` or ``vmlinux``
    :ivar symbol: its name, with the compiler's suffix
    :ivar address: linear address of its first byte
    :ivar code: up to the next symbol
    """

    module: str
    symbol: str
    address: int
    code: bytes


@dataclass(frozen=True, slots=True)
class KernelFunctions:
    """Functions in scope.  Their order is that of their addresses."""

    functions: tuple[KernelFunction, ...]

    def __post_init__(self) -> None:
        """Sort them."""
        ordered = tuple(sorted(self.functions, key=lambda function: function.address))
        object.__setattr__(self, "functions", ordered)

    def to_json(self) -> dict[str, Any]:
        """Return the form in which they are stored."""
        return {
            "schema": SCHEMA,
            "functions": [
                [each.module, each.symbol, each.address, b64encode(each.code).decode("ascii")]
                for each in self.functions
            ],
        }

    @classmethod
    def from_json(cls, stored: Any) -> Self:  # noqa: ANN401 - what json.loads returns
        """Return what was stored.

        :raises ValueError: it is not that, or is of another version
        """
        try:
            if stored["schema"] != SCHEMA:
                raise ValueError(f"schema {stored['schema']!r}; this kvmprobe reads {SCHEMA}")
            return cls(
                tuple(
                    KernelFunction(str(module), str(symbol), int(address), b64decode(code))
                    for module, symbol, address, code in stored["functions"]
                )
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a list of functions: {error!r}") from error
