"""Functions of one kernel as they are in its memory.  Pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
_ADDRESSES = 1 << 64


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
    """Functions in scope, in the order of their addresses.

    :ivar names: symbols, by address, of what they call
    :ivar modules: address of each module's text
    """

    functions: tuple[KernelFunction, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    modules: Mapping[str, int] = field(default_factory=dict)

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
            "names": {f"{address:x}": name for address, name in sorted(self.names.items())},
            "modules": dict(self.modules),
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
                    KernelFunction(str(module), str(symbol), _address(address), b64decode(code))
                    for module, symbol, address, code in stored["functions"]
                ),
                {int(address, 16): str(name) for address, name in stored["names"].items()},
                {str(name): int(address) for name, address in stored.get("modules", {}).items()},
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a list of functions: {error!r:.200}") from error


def _address(number: object) -> int:
    if type(number) is not int or not 0 <= number < _ADDRESSES:
        raise ValueError(f"{number!r:.80} is no address")
    return number
