"""A nested guest's FPU state: shared with L1, seen by ioctls, moved while it executes.

L2 executes the payload's commands.  What exits to L1 is the result of a command, and the next
command is L1's.  The orders are those of virtual machine monitors, with KVM_SET_NESTED_STATE in
their place: it has no part of XSTATE, XCR0 or IA32_XFD.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.guest import Vector
from kvmprobe.model.guest_migration import Part
from kvmprobe.model.guest_xsave import SaveForm
from kvmprobe.model.nested import HEAD_SIZE, VMCS_SIZE
from kvmprobe.scenarios.catalog._guests import (
    DATA,
    OBSERVERS,
    PLAIN,
    TILES,
    USE_XSAVE,
    USE_XSAVE_AND_PKRU,
    all_of,
    run,
    stores,
)
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import GuestExecute, SharePayload
from kvmprobe.scenarios.ops.guest_control import (
    GuestCpuidLeaf,
    GuestLdmxcsr,
    GuestRdmsr,
    GuestWrmsr,
    GuestWrpkru,
    GuestXgetbv,
    GuestXsetbv,
)
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.guest_nested import GuestEnterL2, GuestVmcall
from kvmprobe.scenarios.ops.guest_tiles import GuestLdtilecfg, GuestTileloadd, GuestTilestored
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor, GuestXsave
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.nested import GetNestedState, RestoreNestedState, SaveNestedState
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.scenarios.presets import presets
from kvmprobe.scenarios.scenario import NESTED_VMX, Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE, SSE_YMM

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.catalog._guests import Start
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.presets import Preset

_LARGEST = HEAD_SIZE + VMCS_SIZE
_SEE: tuple[Op, ...] = (*OBSERVERS, GetNestedState(_LARGEST))
_ENTER, _LEAVE = GuestEnterL2(), GuestVmcall()
_ENTER_NM = GuestEnterL2(1 << Vector.NM)
_ARMS, _DISARMS = GuestWrmsr(Msr.IA32_XFD, DATA), GuestWrmsr(Msr.IA32_XFD, 0)
_SHOWS_ERR, _CLEARS_ERR = GuestRdmsr(Msr.IA32_XFD_ERR), GuestWrmsr(Msr.IA32_XFD_ERR, 0)
_LOAD, _STORE = GuestTileloadd(3), GuestTilestored(3)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return this part of the family."""
    return (*_shared(host), *_xfd(host), *_by_host(host), *_moves(host))


def _scenario(row: str, start: Start, *ops: Op) -> Scenario:
    steps = (
        *(ScenarioStep(op) for op in start.ops),
        *(ScenarioStep(op, _SEE) for op in ops),
    )
    return _named(row, start, steps)


def _named(row: str, start: Start, steps: tuple[ScenarioStep, ...]) -> Scenario:
    needs = start.needs | NESTED_VMX
    return Scenario(f"nested.{row}.{start.part}", row, start.part, steps, needs)


def _begin(host: HostProfile) -> tuple[Op, ...]:
    return (USE_XSAVE_AND_PKRU, GuestXsetbv(all_of(host, TILES)), GuestLdtilecfg())


def _shared(host: HostProfile) -> tuple[Scenario, ...]:
    """Return what one level leaves in the registers for the other; XSETBV of L2 exits."""
    plain, every = all_of(host, PLAIN), all_of(host, TILES)
    enabled = (USE_XSAVE, GuestXsetbv(plain))
    mxcsr = run(PayloadOp.STMXCSR)
    narrow = GuestXsetbv(FPSSE | SSE_YMM)
    return (
        _scenario("l2-from-l1", PLAIN, *enabled, GuestXrstor(plain), _ENTER, *stores()),
        _scenario(
            "l2-to-l1",
            PLAIN,
            *enabled,
            _ENTER,
            GuestXrstor(plain),
            GuestLdmxcsr(0x1FA0),
            _LEAVE,
            *mxcsr,
            *stores(),
            GuestXsave(),
        ),
        _scenario(
            "l2-tiles",
            TILES,
            *_begin(host),
            _ENTER,
            _LOAD,
            GuestWrpkru(0xC),
            _STORE,
            *run(PayloadOp.RDPKRU),
            _LEAVE,
            _STORE,
            *run(PayloadOp.RDPKRU),
            GuestWrpkru(0x5555_5554),
            *run(PayloadOp.TILERELEASE),
            _ENTER,
            *run(PayloadOp.RDPKRU, PayloadOp.STTILECFG),
            _STORE,
        ),
        _scenario(
            "l2-xsetbv",
            TILES,
            USE_XSAVE,
            _ENTER,
            GuestXsetbv(every),
            GuestXgetbv(),
            GuestXsetbv(every),
            GuestXrstor(every),
            _ENTER,
            GuestXgetbv(),
            GuestXsetbv(0),
            narrow,
            _ENTER,
            GuestXgetbv(),
            GuestXsave(),
            GuestXsave(SaveForm.XSAVES),
        ),
        _scenario(
            "l2-cpuid",
            PLAIN,
            *enabled,
            GuestXrstor(plain),
            _ENTER,
            GuestCpuidLeaf(0xD),
            GuestCpuidLeaf(0xD),
            *stores(),
        ),
        _scenario(
            "l2-xsave-forms",
            TILES,
            *_begin(host),
            _ENTER,
            GuestXrstor(every),
            *(GuestXsave(form) for form in SaveForm),
        ),
        _scenario("l2-ud", PLAIN, _ENTER, GuestXsetbv(plain), GuestXgetbv(), *run(PayloadOp.UD2)),
    )


def _xfd(host: HostProfile) -> tuple[Scenario, ...]:
    """#NM of L2: in its own handler, or an exit to L1, which has IA32_XFD_ERR then."""
    begin = (*_begin(host), _LOAD)
    handled: tuple[Op, ...] = (_SHOWS_ERR, _CLEARS_ERR, _DISARMS, _LOAD, _STORE)
    # At the end the host arms XFD in L1, so that KVM sees the next #NM in any case.
    seen_again = (SetXfd(DATA), _LOAD, *handled)
    of_l1 = (_LEAVE, _LOAD, _SHOWS_ERR, _CLEARS_ERR, _SHOWS_ERR, *seen_again)
    return (
        _scenario("l2-nm", TILES, *begin, _ENTER, _ARMS, _LOAD, *handled),
        _scenario("l2-nm-armed-by-l1", TILES, *begin, _ARMS, _ENTER, _LOAD, *handled),
        _scenario(
            "l2-nm-armed-by-host", TILES, *_begin(host), _ENTER, SetXfd(DATA), _LOAD, *handled
        ),
        _scenario("l2-nm-exits", TILES, *begin, _ENTER_NM, _ARMS, _LOAD, *handled),
        _scenario(
            "l2-nm-exits-armed-by-l1",
            TILES,
            *begin,
            _ARMS,
            _ENTER_NM,
            _LOAD,
            _SHOWS_ERR,
            _ENTER_NM,
            _LOAD,
            *handled,
        ),
        _scenario("l2-nm-of-l1", TILES, *begin, _ENTER_NM, _ARMS, *of_l1),
        _scenario("l2-nm-of-l1-by-host", TILES, *_begin(host), _ENTER, SetXfd(DATA), *of_l1),
    )


def _by_host(host: HostProfile) -> tuple[Scenario, ...]:
    """Ioctls while the vCPU executes L2."""
    plain, every = all_of(host, PLAIN), all_of(host, TILES)
    return (
        _scenario(
            "l2-set-by-host",
            PLAIN,
            USE_XSAVE,
            _ENTER,
            SetXcrs(plain),
            GuestXgetbv(),
            SetXsave(plain),
            RunImmediateExit(),
            *stores(),
            _LEAVE,
            GuestXgetbv(),
            *stores(),
        ),
        _scenario(
            "l2-tiles-by-host",
            TILES,
            *_begin(host),
            _ENTER,
            SetXsave(every),
            _STORE,
            SetXcrs(plain),
            GuestXgetbv(),
            _STORE,
            _LEAVE,
            GuestXgetbv(),
        ),
        _scenario(
            "sizes",
            PLAIN,
            *(GetNestedState(size) for size in (0, HEAD_SIZE)),
            _ENTER,
            *(GetNestedState(size) for size in (0, HEAD_SIZE, _LARGEST - 1, _LARGEST)),
            _LEAVE,
            *(GetNestedState(size) for size in (HEAD_SIZE, _LARGEST - 1, _LARGEST)),
        ),
    )


# The part after which a monitor restores the state of nested virtualization.
_NESTED_AFTER = {
    "kselftest": Part.REGS,
    "qemu-full": Part.SREGS,
    "cloud-hypervisor": Part.XCRS,
    "crosvm": Part.EVENTS,
}
_SAVED = (Part.EVENTS, Part.REGS, Part.XSAVE, Part.XCRS, Part.SREGS, Part.MSRS, Part.DEBUGREGS)


def _moves(host: HostProfile) -> tuple[Scenario, ...]:
    """Move a vCPU in L2, or in L1 with a VMCS, to another VM."""
    plain, every = all_of(host, PLAIN), all_of(host, TILES)
    in_l2 = (*_begin(host), _ENTER, GuestXrstor(every), GuestWrpkru(0xC))
    armed = (*in_l2, _ARMS)
    states: dict[str, tuple[Start, tuple[Op, ...]]] = {
        "avx512": (PLAIN, (USE_XSAVE, GuestXsetbv(plain), _ENTER, GuestXrstor(plain))),
        "everything": (TILES, in_l2),
        "armed": (TILES, armed),
        "in-nm": (TILES, (*armed, _LOAD)),
        "in-l1": (TILES, (*in_l2, _LEAVE)),
    }
    known = {preset.name: preset for preset in presets()}
    orders = [known[name] for name in _NESTED_AFTER]
    return tuple(
        _named(f"moved-{order.moved_as or order.name}-{name}", start, _moved(order, start, ops))
        for order, (name, (start, ops)) in product(orders, states.items())
    )


def _moved(order: Preset, start: Start, ops: tuple[Op, ...]) -> tuple[ScenarioStep, ...]:
    vcpu = "vcpu1"
    seen = tuple(SaveVcpu(part, vcpu) for part in (Part.XSAVE, Part.XCRS, Part.MSRS))
    saved = (*(SaveVcpu(part) for part in _SAVED), SaveNestedState())
    made = (
        CreateVm("vm1"),
        SharePayload("vm1"),
        CreateVcpu(vcpu, "vm1"),
        SetCpuid2(start.table, vcpu=vcpu),
    )
    restored: list[Op] = [RestoreVcpu(part, vcpu) for part in order.parts]
    place = order.parts.index(_NESTED_AFTER[order.name]) + 1
    restored.insert(place, RestoreNestedState(vcpu))
    leaves = () if ops[-1] is _LEAVE else (GuestVmcall(vcpu),)
    looks = _looks(start, vcpu)
    return (
        *(ScenarioStep(op) for op in (*start.ops, *ops, *saved, *made)),
        *(ScenarioStep(op, seen) for op in (*restored, *looks, *leaves, *looks)),
        *(ScenarioStep(op, seen) for op in (GuestEnterL2(vcpu=vcpu), *looks)),
    )


def _looks(start: Start, vcpu: str) -> tuple[Op, ...]:
    tiles: tuple[Op, ...] = ()
    if start is TILES:
        tiles = (
            *(GuestRdmsr(index, vcpu) for index in (Msr.IA32_XFD, Msr.IA32_XFD_ERR)),
            GuestTilestored(3, vcpu),
            GuestExecute(PayloadOp.RDPKRU, vcpu),
        )
    return (GuestXgetbv(0, vcpu), *tiles, *stores(vcpu), SaveNestedState(vcpu))
