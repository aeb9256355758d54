"""Assembles a C file from its own parts and the ready-made definitions that they use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.repro import chunks, guest
from kvmprobe.repro.fill import component_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.xstate.layout import Component, Layout

_LICENSE = "// SPDX-License-Identifier: MIT"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that are written for one program.

    :ivar head: the comment at the top
    :ivar declared: its variables
    :ivar body: its data and functions, in order
    """

    head: str
    declared: str
    body: Sequence[str]

    @property
    def text(self) -> str:
        """Everything but the comment at the top."""
        return "\n".join([self.declared, *self.body])


def assemble(parts: Parts, layout: Layout) -> str:
    """Return the file.

    :param layout: has the offsets of the components that the program names
    :raises Unavailable: the program has the guest payload, and the extension module is not built
    """
    found = chunks.needed(parts.text)
    used = chunks.words(parts.text)
    headers = {*chunks.ALWAYS, *(header for chunk in found for header in chunk.headers)}
    if "munmap" in used:
        headers.add("sys/mman.h")
    constants = [chunk.text for chunk in found if chunk.is_constant]
    constants += [
        f"#define {component_name(c.nr)} {c.offset} /* CPUID.(0xd, {c.nr}):EBX */"
        for c in named_components(parts.text, layout)
    ]
    text = [
        f"{_LICENSE}\n{parts.head}",
        "\n".join(["#define _GNU_SOURCE", *(f"#include <{h}>" for h in sorted(headers))]),
        "\n".join(constants),
        guest.code() if "map_payload" in used else "",
        *(chunk.text for chunk in found if not chunk.is_constant),
        parts.declared,
        *parts.body,
    ]
    return "\n\n".join(part for part in text if part) + "\n"


def named_components(text: str, layout: Layout) -> list[Component]:
    """Return the components whose offsets the C text uses."""
    used = chunks.words(text)
    return [c for c in layout.components if component_name(c.nr) in used]
