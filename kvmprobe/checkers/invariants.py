"""INV-1 to INV-43: what each says, and what checks it.

A *direct* check is a checker: it looks at replies alone.  A *model* rule is judged step by step in
lockstep and cites its number.  What no scenario can reach has a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Check(Enum):
    """What checks an invariant."""

    DIRECT = "checker on the trace alone"
    MODEL = "rule of the model"
    GATE = "the runner"


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant of the contract.

    :ivar statement: in own words
    :ivar checkers: names of the functions of this package that check it on traces alone
    :ivar rules: functions of the model that keep it and do not cite it, ``module.function``
    :ivar check: the strongest kind of check that there is
    :ivar left_out: what of it no scenario reaches, and why
    """

    number: int
    statement: str
    checkers: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    check: Check = Check.MODEL
    left_out: str = ""

    @property
    def name(self) -> str:
        """As rules cite it."""
        return f"INV-{self.number}"


def _direct(number: int, statement: str, *checkers: str, left_out: str = "") -> Invariant:
    return Invariant(number, statement, checkers, check=Check.DIRECT, left_out=left_out)


def _model(number: int, statement: str, *rules: str, left_out: str = "") -> Invariant:
    return Invariant(number, statement, rules=rules, left_out=left_out)


INVARIANTS: tuple[Invariant, ...] = (
    _direct(1, "before any request permission is everything but XTILE_DATA", "bitmaps"),
    _direct(2, "a grant adds just XTILE_DATA, each time", "requests", "bitmaps", "growth"),
    _direct(3, "other numbers are refused: EOPNOTSUPP if known, else EINVAL", "requests"),
    _direct(4, "the first vCPU freezes guest permission: EBUSY from then on", "requests"),
    _model(5, "the lock outlives the VM, is inherited by fork, is dropped by exec"),
    _direct(6, "a guest request never fails for a small signal stack", "requests"),
    _direct(7, "no bitmap shows a supervisor component or the lock", "bitmaps"),
    _direct(8, "KVM_CAP_XSAVE2 is the size in supported CPUID, at least 4096", "sizes", "growth"),
    _direct(9, "XCOMP_GUEST_SUPP holds all of supported 0xD.0, always the same", "supported_table"),
    _direct(10, "supported 0xD.0 has XTILE if and only if permitted", "supported_table"),
    _direct(11, "XTILE_DATA in KVM_SET_CPUID2 needs permission once", "unpermitted", "steadiness"),
    _model(12, "after a real entry only the same CPUID table is accepted"),
    _direct(13, "KVM_GET_XSAVE works until XTILE_DATA is enabled", "old_get_xsave"),
    _direct(14, "exactly the image's bytes are moved, both ways", "image_form"),
    _direct(15, "a new vCPU is in the architectural initial state", "fresh_vcpu", "set_and_get"),
    _direct(16, "bytes 464-471 are the host's features, reserved bytes 0", "image_form"),
    _direct(17, "XSTATE_BV as read lies within the guest's CPUID, FP and SSE", "image_form"),
    _direct(18, "SET_XSAVE judges header, MXCSR only", "legal_header", "advertised_is_accepted"),
    _direct(19, "a failing call changes nothing", "steadiness"),
    _direct(20, "what was restored is saved, all else is INIT", "restored_and_saved"),
    _direct(21, "MXCSR is told if and only if SSE or YMM is", "restored_and_saved"),
    _model(22, "PKRU is set if and only if its bit is in XSTATE_BV"),
    _direct(23, "KVM_SET_XCRS takes the legal values, KVM_GET_XCRS tells the last", "set_and_get"),
    _model(24, "a list without XCR0 changes nothing; flags and too many entries are refused"),
    _direct(25, "XFD takes the guest's dynamic components, and reads back", "set_and_get"),
    _direct(26, "KVM_SET_MSRS has applied as many entries as it returns", "set_and_get"),
    _direct(27, "what the index list names can be read", "listed_is_readable"),
    _model(28, "XSTATE restored with XFD armed loses the component, and does not get it back"),
    _direct(29, "XSTATE_BV and XFD never have a bit in common", "xstate_and_xfd"),
    Invariant(30, "no load is issued that would fault in the host", check=Check.GATE),
    _direct(31, "enabling XTILE_DATA keeps what was restored before", "across"),
    _direct(32, "a table without XTILE_DATA changes no state", "steadiness", "across"),
    _model(33, "a table without XTILE_DATA hides it, one with it shows it", "exported.exported"),
    _model(34, "CR4.OSXSAVE before CPUID: as the kernel has it; afterwards as CPUID has it"),
    _direct(35, "CPUID follows XCR0 in size, and CR4 in OSXSAVE", "set_and_get"),
    _direct(36, "KVM_RUN with immediate_exit keeps registers and content", "steadiness", "across"),
    _direct(37, "restore calls that do not need each other commute", "across"),
    _direct(38, "no restore call changes what it is not about", "steadiness"),
    _model(39, "a tile in a guest with XFD armed raises #NM with XFD_ERR set",
           left_out="migration between processors: the emulated host has one"),
    _direct(40, "XSETBV takes what KVM_SET_XCRS takes; both show", "guest_and_host", "set_and_get"),
    _direct(41, "a VM answers only the memory that created it: EIO", "other_memory"),
    _direct(42, "without AMX: no grant, no table, no armed XFD", "requests"),
    Invariant(43, "no kernel warning, no taint", check=Check.GATE),
)  # fmt: skip
