"""A recording as a restore order, for ``kvmprobe convert``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.terminal import print_line
from kvmprobe.errors import RecordingError, RecordingTruncated
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.reports.vmm_sentences import plural
from kvmprobe.results.schema import RECORDING
from kvmprobe.scenarios.presets import DEFAULT_STATES, STATES, Preset, to_toml
from kvmprobe.vmm.order import Order, restore_order

if TYPE_CHECKING:
    from kvmprobe.recordings.entries import Entry

_CET = frozenset({"cet-msrs", "ssp"})
_FIRST = 4096


def is_recording(file: Path) -> bool:
    """Return True if a file begins as recordings do; False if it cannot be read."""
    try:
        with file.open("rb") as opened:
            first = opened.readline(_FIRST)
        return bool(json.loads(first).get("schema") == RECORDING)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def order_file(recording: Path) -> str:
    """Return the order of a recording as a file; print what it does not have.

    :raises RecordingError: the recording cannot be read, or restores no vCPU
    """
    entries: list[Entry] = []
    with RecordingReader(recording) as reader:
        try:
            entries.extend(reader)
        except RecordingTruncated as error:
            print_line(f"kvmprobe: {error}; converted up to there")
        header = reader.header
    try:
        order = restore_order(entries)
    except RecordingError as error:
        raise RecordingError(f"{recording}: {error}") from error
    for line in _left_out(order):
        print_line(f"kvmprobe: {recording}: {line}")
    command = header.command[0] if header.command else ""
    return to_toml(
        Preset(
            name=recording.stem,
            program=Path(command).name,
            version=f"recorded {header.began[:10]} on Linux {header.kernel}",
            source=f"kvmprobe trace -- {' '.join(header.command)}",
            tokens=tuple(order.calls),
            states=STATES if _CET.intersection(order.calls) else DEFAULT_STATES,
        )
    )


def _left_out(order: Order) -> list[str]:
    found = [
        f"{call} on {order.vcpu} is not in the order ({plural(number, 'call')}): {why}"
        for (call, why), number in sorted(order.left_out.items())
    ]
    return [*found, *order.remarks]
