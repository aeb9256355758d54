"""Whether KVM_SET_FPU and KVM_GET_FPU agree with KVM_SET_XSAVE and KVM_GET_XSAVE2.

They are two views of the same x87 and SSE registers.  Each scenario ends with a KVM_RUN that
returns at once and one that enters the guest.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.fpu import (
    FpuContent,
    GetFpu,
    GetFpuAtPageEnd,
    SetFpu,
    SetFpuAtPageEnd,
)
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave, SetXsaveImage
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import AVX512, FPSSE, SSE_YMM, XTILE, XFeature
from kvmprobe.xstate.fpu_area import FPU_SIZE
from kvmprobe.xstate.malformations import Malformation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_SEE: tuple[Op, ...] = (GetXsave2(), GetFpu())
_KICK, _RUN = RunImmediateExit(), RunUntilHalt()
_FIRST, _SECOND = SetFpu(FpuContent.FIRST), SetFpu(FpuContent.SECOND)
_AVX = FPSSE | XFeature.YMM.bit
_BITMAPS = {
    "none": 0,
    "fp": XFeature.FP.bit,
    "sse": XFeature.SSE.bit,
    "ymm": XFeature.YMM.bit,
    "legacy": FPSSE,
    "sse-ymm": SSE_YMM,
    "avx512": _AVX | AVX512,
}


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:  # noqa: ARG001 - the same on every host
    """Return the family."""
    padded = (SetXsaveImage(FPSSE, Malformation.ST_PADDING), _KICK)
    return (
        _scenario("get", "fresh", ()),
        _scenario("get", "init", (SetXsaveImage(_AVX, Malformation.INIT),)),
        _scenario(
            "get", "init-again", (_FIRST, SetXsave(_AVX), SetXsaveImage(_AVX, Malformation.INIT))
        ),
        *(_scenario("get-after", name, (SetXsave(bv),)) for name, bv in _BITMAPS.items()),
        *(
            _scenario("get-replaced", name, (SetXsave(_AVX), SetXsave(bv)))
            for name, bv in _BITMAPS.items()
        ),
        *(
            _scenario("get-replaced-after-run", name, (SetXsave(_AVX), _KICK, SetXsave(bv)))
            for name, bv in _BITMAPS.items()
        ),
        *(
            _scenario(
                f"get-partly-after-{first}",
                second,
                (_FIRST, SetXsave(_BITMAPS[first]), _KICK, _KICK, SetXsave(_BITMAPS[second])),
            )
            for first, second in permutations(("fp", "sse", "ymm", "none"), 2)
        ),
        *(_scenario("set", given, (SetFpu(given),)) for given in FpuContent),
        _scenario("set", "twice", (_FIRST, _SECOND)),
        _scenario("set", "run-between", (_FIRST, _RUN, _SECOND)),
        *(_scenario("set-after", name, (SetXsave(bv), _FIRST)) for name, bv in _BITMAPS.items()),
        *(
            _scenario("set-after-run", name, (SetXsave(bv), _KICK, _FIRST))
            for name, bv in _BITMAPS.items()
        ),
        *(_scenario("set-before", name, (_FIRST, SetXsave(bv))) for name, bv in _BITMAPS.items()),
        _scenario("set-init-after", "legacy", (SetXsave(FPSSE), SetFpu(FpuContent.INIT))),
        _scenario("mxcsr", "legacy", (SetXsave(FPSSE), SetFpu(FpuContent.GARBAGE))),
        _scenario("mxcsr", "ymm", (SetXsave(XFeature.YMM.bit), SetFpu(FpuContent.GARBAGE))),
        _scenario("x87", "st-padding", (SetXsaveImage(FPSSE, Malformation.ST_PADDING), _KICK)),
        *(
            _scenario("set-after-replaced", name, (_KICK, SetXsave(_BITMAPS[name]), _FIRST))
            for name in ("none", "ymm", "sse")
        ),
        _scenario("x87", "padding-replaced", (*padded, SetXsave(XFeature.SSE.bit))),
        _scenario("x87", "padding-overwritten", (*padded, SetXsave(0), _FIRST)),
        _scenario("set-after-run", "twice", (SetXsave(0), _KICK, _FIRST, _KICK, _SECOND, _KICK)),
        _scenario("x87", "pointers", (SetXsaveImage(FPSSE, Malformation.X87_POINTERS), _KICK)),
        _scenario("x87", "addresses", (SetXsaveImage(FPSSE, Malformation.X87_ADDRESSES), _KICK)),
        _scenario("x87", "reserved", (SetXsave(FPSSE), SetFpu(FpuContent.RESERVED), _KICK, _FIRST)),
        _scenario("x87", "garbage", (SetXsave(FPSSE), SetFpu(FpuContent.GARBAGE), _KICK, _FIRST)),
        _scenario("extent", "exact", _extent()),
        *_cpuid(),
    )


def _scenario(
    row: str,
    column: str,
    ops: Iterable[Op],
    needs: Needs = ANYWHERE,
    begin: tuple[Op, ...] = (),
) -> Scenario:
    set_up: tuple[Op, ...] = (OpenKvm(), *begin, CreateVm(), MapHalt(), CreateVcpu())
    return Scenario(
        id=f"fpu.{row}.{column}",
        row=row,
        column=column,
        steps=(
            *(ScenarioStep(op) for op in set_up[:-1]),
            *(ScenarioStep(op, _SEE) for op in (set_up[-1], *ops, _KICK, _RUN)),
        ),
        needs=needs,
    )


def _extent() -> tuple[Op, ...]:
    sizes = (0, FPU_SIZE - 1, FPU_SIZE)
    return (
        SetXsave(FPSSE),
        *(GetFpuAtPageEnd(size) for size in sizes),
        *(SetFpuAtPageEnd(size) for size in sizes),
    )


def _cpuid() -> tuple[Scenario, ...]:
    """Give the vCPU another fpstate, with the first table that has XTILE_DATA."""
    ask = (RequestGuestPermission(XFeature.XTILE_DATA),)
    plain, tiles = SetCpuid2(Table.NO_AMX), SetCpuid2(Table.FULL)
    orders: dict[str, tuple[Op, ...]] = {
        "fpu-tiles": (_FIRST, tiles),
        "tiles-fpu": (tiles, _FIRST),
        "xsave-tiles-fpu": (SetXsave(_AVX), tiles, _FIRST),
        "tiles-xsave-fpu": (tiles, SetXsave(_AVX | XTILE), _FIRST),
        "tiles-fpu-xsave": (tiles, _FIRST, SetXsave(XTILE)),
        "plain-fpu-tiles": (plain, _FIRST, _KICK, tiles),
        "tiles-alone": (tiles,),
    }
    return (
        _scenario("cpuid", "fpu-plain", (_FIRST, plain)),
        _scenario("cpuid", "plain-xsave-fpu", (plain, SetXsave(_AVX), _FIRST)),
        *(_scenario("cpuid", name, ops, AMX, ask) for name, ops in orders.items()),
    )
