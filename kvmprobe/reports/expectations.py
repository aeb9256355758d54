"""Expected results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.outcome import Done, Failed, HostDies, NewDescriptor, NotCovered, OneOf
from kvmprobe.reports.values import DESCRIPTOR, fields_text, result_text, returned
from kvmprobe.xstate.features import names
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from kvmprobe.model.outcome import Outcome


def expected_result(result: int | NewDescriptor | None) -> str:
    """Return a result or -errno; None means that correct kernels differ."""
    match result:
        case None:
            return "differs between correct kernels"
        case NewDescriptor():
            return DESCRIPTOR
        case int():
            return result_text(result)


def expected_text(outcome: Outcome) -> str:
    """Return the result, the content of the output, and its unspecified parts."""
    match outcome:
        case NewDescriptor():
            return DESCRIPTOR
        case Failed(errno):
            return returned(-errno)
        case NotCovered(reason):
            return f"not covered: {reason}"
        case HostDies(reason):
            return f"the host dies: {reason}"
        case OneOf(choices, reason):
            return f"{' or '.join(map(expected_text, choices))} ({reason})"
        case Done(value, read, image, table=table):
            parts = [returned(value)]
            if table is not None:
                parts.append(f"a table of {len(table.table.entries)} entries")
            if image is not None:
                parts.append(f"XSTATE_BV={names(xstate_bv_of(image.image))}")
                parts += [f"unspecified: {u.freedom}" for u in image.unspecified]
            return ", ".join([*parts, fields_text(read)] if read else parts)
