"""The order in which a recorded VMM restores a vCPU, as the calls of a preset."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr, msr_name
from kvmprobe.abi.tables import CPUID, CPUID2
from kvmprobe.errors import RecordingError
from kvmprobe.model import cet
from kvmprobe.model.one_reg import GUEST_SSP
from kvmprobe.recordings.lines import Call, ObjectKind, Run, Runs
from kvmprobe.scenarios.presets import MOST_CALLS
from kvmprobe.vmm.follow import is_immediate_exit, msr_entries
from kvmprobe.vmm.names import call_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from kvmprobe.recordings.entries import Entry

_CALLS: Mapping[str, str] = {
    ioctls.SET_REGS.name: "regs",
    ioctls.SET_SREGS.name: "sregs",
    ioctls.SET_SREGS2.name: "sregs2",
    ioctls.SET_VCPU_EVENTS.name: "events",
    ioctls.SET_MP_STATE.name: "mp-state",
    ioctls.SET_DEBUGREGS.name: "debugregs",
    ioctls.SET_LAPIC.name: "lapic",
    ioctls.SET_XCRS.name: "xcrs",
    ioctls.SET_XSAVE.name: "xsave",
    ioctls.SET_FPU.name: "fpu",
}
_TABLES = {ioctls.SET_CPUID.name: CPUID, ioctls.SET_CPUID2.name: CPUID2}
_OF_THE_PRESETS = frozenset({Msr.IA32_PAT, Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS, *cet.MSRS})
# Of QEMU between two restores: nine kinds (presets: sweep).
_SWEEP = 5
_BEFORE_STATE = frozenset({"cpuid", "no-cpuid"})
_NO_WORD = "no word of a preset means it"
_OTHER_MSRS = "it sets none of the MSRs that presets restore"


@dataclass
class Order:
    """A vCPU's restore.

    :ivar vcpu: id of the object
    :ivar calls: words of a preset
    :ivar left_out: by (call, reason), how many calls are not in it
    :ivar remarks: what a word means beyond the call that it stands for
    """

    vcpu: str
    calls: list[str] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    remarks: dict[str, None] = field(default_factory=dict)


def restore_order(entries: Iterable[Entry]) -> Order:
    """Return the order of the first vCPU's restore, up to the first entry of its guest.

    :raises RecordingError: no call restores a vCPU, or more do than a preset can have
    """
    vcpu = ""
    calls: list[Entry] = []
    for entry in entries:
        target = entry.target
        if target is None or target.kind is not ObjectKind.VCPU or vcpu not in {"", target.id}:
            continue
        vcpu = target.id
        if isinstance(entry.line, Call):
            calls.append(entry.with_whole_payloads())
        elif (isinstance(entry.line, Run) and not is_immediate_exit(entry)) or (
            isinstance(entry.line, Runs) and entry.line.count != 0
        ):
            break
    order = _Words(vcpu).of(calls)
    if not order.calls:
        raise RecordingError("no call in it restores a vCPU")
    if len(order.calls) > MOST_CALLS:
        raise RecordingError(
            f"{len(order.calls)} calls restore {vcpu}; an order has at most {MOST_CALLS}"
        )
    return order


class _Words:
    """Makes words of calls; a row of calls with one MSR each is one word."""

    def __init__(self, vcpu: str) -> None:
        self._order = Order(vcpu)
        self._reads: set[str] = set()
        self._row: list[int] = []

    def of(self, calls: Iterable[Entry]) -> Order:
        for entry in calls:
            self._take(entry, call_name(entry))
        self._end_row()
        return self._order

    def _take(self, entry: Entry, name: str) -> None:
        if name.startswith("KVM_GET_"):
            self._reads.add(name)
        elif why := _left_out(entry, name):
            self._order.left_out[name, why] += 1
        elif entry.spec == ioctls.SET_MSRS:
            self._take_msrs([index for index, _ in msr_entries(entry.sent or b"")])
        else:
            self._add(_word(entry, name))

    def _take_msrs(self, indices: list[int]) -> None:
        restored = _OF_THE_PRESETS & set(indices)
        if not restored:
            self._order.left_out[ioctls.SET_MSRS.name, _OTHER_MSRS] += 1
        elif len(indices) == 1:
            self._row += restored
        else:
            self._add(self._list(restored))

    def _end_row(self) -> None:
        row, self._row = self._row, []
        if Msr.IA32_XFD in row and len(row) > 1:
            self._remark("each-msr", set(row), Msr.IA32_XSS, Msr.IA32_PAT)
            self._append("each-msr")
            return
        for index in row:
            self._append(self._list({index}))

    def _list(self, restored: AbstractSet[int]) -> str:
        """Return the word for a list with these MSRs."""
        if restored == {Msr.IA32_XSS}:
            return "xss"
        if Msr.IA32_XFD in restored:
            self._remark("msrs", restored, Msr.IA32_XSS, Msr.IA32_PAT)
            return "msrs"
        if Msr.IA32_XSS not in restored:
            self._remark("other-msrs", restored, Msr.IA32_PAT)
            if restored & cet.MSRS:
                self._order.remarks["'other-msrs' restores no MSR of CET"] = None
            return "other-msrs"
        word = "cet-msrs" if restored & cet.MSRS else "xss-msrs"
        self._remark(word, restored, Msr.IA32_PAT)
        return word

    def _remark(self, word: str, restored: AbstractSet[int], *msrs: Msr) -> None:
        """Note those of the MSRs that a word restores, and the recorded call does not."""
        names = ", ".join(f"IA32_{msr_name(index)}" for index in msrs if index not in restored)
        if names:
            self._order.remarks[f"{word!r} restores {names} as well"] = None

    def _add(self, word: str) -> None:
        self._end_row()
        self._append(word)

    def _append(self, word: str) -> None:
        if len(self._reads) >= _SWEEP and not _BEFORE_STATE.issuperset(self._order.calls):
            self._order.calls.append("sweep")
        self._reads.clear()
        self._order.calls.append(word)


def _left_out(entry: Entry, name: str) -> str:
    """Return why a call is no part of a preset; empty if it is one."""
    result = getattr(entry.line, "result", None)
    if name not in {*_CALLS, *_TABLES, ioctls.SET_MSRS.name, ioctls.SET_ONE_REG.name}:
        return _NO_WORD
    if result is None or result < 0:
        return "it failed"
    if entry.sent is None:
        return "its payload was not recorded"
    if name == ioctls.SET_ONE_REG.name and entry.sent[:8] != GUEST_SSP.to_bytes(8, "little"):
        return "presets restore no register but SSP by it"
    return ""


def _word(entry: Entry, name: str) -> str:
    if name in _TABLES:
        return "cpuid" if _TABLES[name].count(entry.sent or b"") else "no-cpuid"
    return _CALLS.get(name, "ssp")
