"""How an emulated host differs from the default one.  Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

LONGEST_APPEND = 1024


@dataclass(frozen=True, slots=True)
class HostVariant:
    """The options that were given for the emulated host; the default is none.

    :ivar append: words for the end of the kernel command line, at most ``LONGEST_APPEND``
        printable ASCII characters
    :ivar cpu: name of the processor's profile; empty for the default one
    :ivar processors: number of processors, 1 or 2
    """

    append: str = ""
    cpu: str = ""
    processors: int = 1

    def __post_init__(self) -> None:
        """Check that the words fit in one line of the kernel.

        :raises ValueError: they do not
        """
        if not (self.append.isascii() and self.append.isprintable()):
            raise ValueError("kernel parameters are printable ASCII characters")
        if len(self.append) > LONGEST_APPEND:
            raise ValueError(f"kernel parameters are longer than {LONGEST_APPEND} characters")

    @property
    def options(self) -> str:
        """The options as one types them; empty for the default host."""
        given = [
            f"--cpu {self.cpu}" if self.cpu else "",
            f"--cpus {self.processors}" if self.processors != 1 else "",
            f"--append {shlex.quote(self.append)}" if self.append else "",
        ]
        return " ".join(filter(None, given))


DEFAULT_HOST = HostVariant()
