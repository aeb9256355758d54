"""What ``save`` and ``restore`` share: where they run, in which order, what they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.shared import (
    add_cold,
    add_device,
    add_host_or_lab,
    add_kernel,
    add_variant,
)
from kvmprobe.errors import UsageError
from kvmprobe.reports.differences import shown, where
from kvmprobe.scenarios.presets import presets, read_preset

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kvmprobe.execution.one_scenario import Ran
    from kvmprobe.scenarios.presets import Preset

ORDER = "NAME|FILE"


def add_place(command: argparse.ArgumentParser) -> None:
    """Declare where the guest runs."""
    add_host_or_lab(command, "this host or the emulated host")
    add_device(command)
    add_kernel(command)
    add_variant(command)
    add_cold(command)
    command.set_defaults(jobs=1)


def order_named(text: str) -> Preset:
    """Return a built-in order, or that of a file.

    :raises UsageError: there is none, or the file has none
    """
    built_in = {preset.name: preset for preset in presets()}
    if text in built_in:
        return built_in[text]
    path = Path(text)
    if not path.exists() and path.name == text:
        raise UsageError(f"--order {text}: neither a file nor one of {', '.join(built_in)}")
    return read_preset(path)


def divergence_lines(ran: Ran) -> Iterator[str]:
    """Yield what the kernel did that the model does not expect of it."""
    for found in ran.divergences:
        after, call = where(found)
        text = shown(found.difference)
        yield f"  {after}: {call}: expected {text.expected}, observed {text.observed}"
