"""Where a systematic search begins, and which calls it makes: each op with each class of values.

A value class has one value: at a boundary of what the kernel accepts, or right beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.guest import PAYLOAD_CR4
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.need import AMX, Need, Needs
from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetCpuid2, SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.guest import GuestExecute, MapPayload
from kvmprobe.scenarios.ops.guest_control import (
    GuestRdmsr,
    GuestWriteCr4,
    GuestWrmsr,
    GuestXgetbv,
    GuestXsetbv,
)
from kvmprobe.scenarios.ops.guest_tiles import GuestLdtilecfg, GuestTileloadd, GuestTilezero
from kvmprobe.scenarios.ops.guest_vector import GuestFld
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetMsrs, SetXfd, SetXfdErr
from kvmprobe.scenarios.ops.permission import GetGuestPermission, RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave, GetXsave2, SetXsave
from kvmprobe.xstate.features import AVX512, DYNAMIC, FPSSE, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_OSXSAVE = 1 << 18
_ALL = (1 << 64) - 1
_ASK = RequestGuestPermission(XFeature.XTILE_DATA)
_YMM_ALONE = XFeature.FP.bit | XFeature.YMM.bit
_CFG_ALONE = XFeature.FP.bit | XFeature.XTILE_CFG.bit
READ_BACK: tuple[Op, ...] = (
    GetXsave2(),
    GetXcrs(),
    GetXfd(),
    GetMsrs((Msr.IA32_XSS,)),
    GetSregs(),
)
"""What is read of each state that a search reaches."""


@dataclass(frozen=True, slots=True)
class Start:
    """A state to search from.

    :ivar summary: for ``--help``
    :ivar ops: the calls that lead there
    :ivar calls: returns the calls that are made in each state, on a host
    :ivar needs: what a target must have
    """

    summary: str
    ops: tuple[Op, ...]
    calls: Callable[[HostProfile], tuple[Op, ...]]
    needs: Needs = AMX


def _beyond(supported: int) -> int:
    """Return a bitmap with the lowest bit that is not in it."""
    return supported | (~supported & (supported + 1))


def _xcr0s(host: HostProfile) -> Iterable[int]:
    every = host.kvm_xcr0
    return 1, 7, every & ~XTILE, every, 0, _YMM_ALONE, _CFG_ALONE, _beyond(every)


def _xstate_bvs(host: HostProfile) -> Iterable[int]:
    every = host.kvm_xcr0 & ~MPX
    return 0, FPSSE, every & ~XTILE, XTILE, every, XFeature.FP.bit | _beyond(host.kvm_xcr0)


def _restore(host: HostProfile) -> Iterator[Op]:
    yield from (SetCpuid2(table) for table in (Table.FULL, Table.NO_AMX, Table.EMPTY))
    yield from map(SetXcrs, _xcr0s(host))
    yield from map(SetXfd, (0, DYNAMIC, XFeature.XTILE_CFG.bit, _ALL))
    yield from map(SetXfdErr, (0, DYNAMIC))
    yield from map(SetXsave, _xstate_bvs(host))
    for value in (0, host.kvm_xss, _beyond(host.kvm_xss)):
        yield SetMsrs(((Msr.IA32_XSS, value),))
    yield SetFpu(FpuContent.FIRST)
    yield from map(SetSregs, (0, _OSXSAVE))


_READS: tuple[Op, ...] = (
    GetXsave(),
    GetFpu(),
    GetCpuid2(),
    CheckXsave2(),
    GetGuestPermission(),
)


def _vcpu_calls(host: HostProfile) -> tuple[Op, ...]:
    found = (_ASK, *_restore(host), RunUntilHalt(), RunImmediateExit(), *_READS)
    return tuple(dict.fromkeys(found))


def _guest_calls(host: HostProfile) -> tuple[Op, ...]:
    """Return instructions of the guest, and what a VMM may do to it meanwhile."""
    every = host.kvm_xcr0
    found: tuple[Op, ...] = (
        *map(GuestXsetbv, (1, 7, 7 | AVX512 & every, every, _CFG_ALONE)),
        *(GuestWrmsr(Msr.IA32_XFD, value) for value in (0, DYNAMIC, XFeature.XTILE_CFG.bit)),
        *(GuestWrmsr(Msr.IA32_XFD_ERR, value) for value in (0, DYNAMIC)),
        GuestRdmsr(Msr.IA32_XFD_ERR),
        GuestXgetbv(0),
        GuestXgetbv(1),
        GuestFld(),
        GuestLdtilecfg(),
        GuestTileloadd(0),
        GuestTilezero(0),
        GuestExecute(PayloadOp.TILERELEASE),
        *map(SetXfd, (0, DYNAMIC)),
        *map(SetXsave, (0, XTILE, every & ~MPX)),
        SetXfdErr(0),
        RunImmediateExit(),
        *_READS,
    )
    return tuple(dict.fromkeys(found))


_VCPU: tuple[Op, ...] = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), GetSregs())
STARTS = {
    "vcpu": Start("a new vCPU whose process has guest permission", (_ASK, *_VCPU), _vcpu_calls),
    "no-permission": Start(
        "a new vCPU; guest permission is asked for too late", _VCPU, _vcpu_calls, frozenset()
    ),
    "guest": Start(
        "a guest that has enabled XSAVE; the calls are its instructions, and a VMM's between them",
        (
            _ASK,
            OpenKvm(),
            CreateVm(),
            MapPayload(),
            CreateVcpu(),
            SetCpuid2(Table.FULL),
            GuestWriteCr4(PAYLOAD_CR4 | _OSXSAVE),
        ),
        _guest_calls,
        frozenset({Need.AMX, Need.GUEST_CODE}),
    ),
}
