"""What a recorded call read, compared with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.tables import MSRS
from kvmprobe.judge.compare import compare
from kvmprobe.model.outcome import Done
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.ops.msrs import GetMsrs
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.vmm.follow import KNOWN, msr_entries

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.results.difference import Difference
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.vmm.taken import Taken


def reads_otherwise(entry: Entry, taken: Taken, host: HostProfile) -> Difference | None:
    """Return how what a call read differs from the model; None if it does not, or reads nothing."""
    result = taken.recorded(entry)
    if taken.step is None or entry.got is None or result is None or entry.spec is None:
        return None
    read = _read(entry.spec.number, entry.got, result)
    if read is None:
        return None
    op, content = read
    image = taken.step.outcome.image if isinstance(taken.step.outcome, Done) else None
    if image and len(content) < len(image.image):
        # KVM_CAP_XSAVE2 says its size, and the recorder may have read a part only.
        return None
    return compare(taken.step.outcome, op, Reply(result, content), host)


def _read(number: int, got: bytes, result: int) -> tuple[Op, bytes] | None:
    match number:
        case ioctls.GET_XSAVE.number | ioctls.GET_XSAVE2.number:
            return GetXsave2(), got
        case ioctls.GET_XCRS.number:
            return GetXcrs(), got
        case ioctls.GET_MSRS.number:
            known = [one for one in msr_entries(got) if one[0] in KNOWN][:result]
            return GetMsrs(tuple(index for index, _ in known)), MSRS.pack(known)
        case _:
            return None
