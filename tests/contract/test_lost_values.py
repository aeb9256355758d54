"""What the model leaves open hides no value of a guest: each legal answer has it.

A planted loss is a correct kernel's answer from which a value is gone, in a place that the model
leaves open for other values, or once did; the judge sees it.
"""

from __future__ import annotations

import struct
from random import Random

import pytest

from kvmprobe.abi.payload import RESULT_SIZE
from kvmprobe.checkers.session import Checkers
from kvmprobe.judge.lockstep import agrees_along
from kvmprobe.model import uabi
from kvmprobe.model.cpuid import supported_table
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.guest_xsave import SaveForm
from kvmprobe.model.outcome import Unspecified
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.catalog._guests import PLAIN, TILES, USE_XSAVE, USE_XSAVE_AND_PKRU
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.ops.cpuid import GetCpuid2, SetCpuid2
from kvmprobe.scenarios.ops.guest_control import GuestWrpkru
from kvmprobe.scenarios.ops.guest_tiles import Configuration, GuestLdtilecfg, GuestTileloadd
from kvmprobe.scenarios.ops.guest_xsave import GuestXsave
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.vcpu_state import GetRegs, SetRegs
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsaveImage
from kvmprobe.search.random_scenarios import Generator
from kvmprobe.xstate.malformations import Malformation
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMD_HOST, AMX_HOST, B0, B9, B17, B18, VCPU, amx_vcpu, image
from tests.support.hosts import TILES as XTILE
from tests.support.lost_values import MXCSR, POINTERS, Lost, lost_in
from tests.support.planted import GUEST, Fault, u64

MAY_LOSE = {freedom for freedom in Freedom if freedom.grounds.may_lose}
# Places in an image: SDM vol.1 table 10-2, §13.4.2; those of PKRU and of the tiles as on AMX_HOST.
FCW, FIP, MXCSR_AT, XSTATE_BV, PKRU, TILE_CFG, TILE_DATA = 0, 8, 24, 512, 2688, 2752, 2816
AREA = RESULT_SIZE
RFLAGS = 8 * 17
VM = 1 << 17
# struct kvm_cpuid2: 8 bytes, then entries of 40 with EBX at 16; that of leaf 1 has an APIC id.
LEAVES = [entry.leaf for entry in supported_table(AMX_HOST, 0x602E7).entries]
EBX_OF_LEAF_1 = 8 + 40 * LEAVES.index(1) + 16
NARROW = (SetXcrs(0x60007), USE_XSAVE, GuestLdtilecfg(Configuration.NARROW), GuestTileloadd())
INIT_SAVED = (SetXcrs(7), USE_XSAVE, GuestXsave(SaveForm.XSAVEC))
LOSSES = {
    "the tiles of a guest that has configured small ones": Fault(
        "judge",
        (*TILES.ops, *NARROW, GetXsave2()),
        patches={XSTATE_BV: u64(0), TILE_CFG: bytes(64), TILE_DATA: bytes(8192)},
    ),
    "the tile data alone": Fault(
        "judge",
        (*TILES.ops, *NARROW, GetXsave2()),
        patches={XSTATE_BV: u64(B17), TILE_DATA: bytes(8192)},
    ),
    "the guest's PKRU": Fault(
        "judge",
        (*PLAIN.ops, USE_XSAVE_AND_PKRU, GuestWrpkru(0xC), GetXsave2()),
        patches={XSTATE_BV: u64(0), PKRU: bytes(8)},
    ),
    "an x87 pointer": Fault(
        "judge",
        (*GUEST, SetXsaveImage(B0, Malformation.X87_ADDRESSES), RunImmediateExit(), GetXsave2()),
        patches={FIP: u64(0)},
    ),
    "FCW of x87 state that the area says is in use": Fault(
        "judge",
        (*PLAIN.ops, *INIT_SAVED),
        patches={AREA + XSTATE_BV: u64(1), AREA + FCW: bytes(2)},
    ),
    "MXCSR of SSE state that the area says is in use": Fault(
        "judge",
        (*PLAIN.ops, *INIT_SAVED),
        patches={AREA + XSTATE_BV: u64(2), AREA + MXCSR_AT: struct.pack("<II", 0, 0xFFFF)},
    ),
    "RFLAGS.VM": Fault(
        "judge",
        (*GUEST, GetRegs(), SetRegs(members=(("rflags", VM | 2),)), GetRegs()),
        patches={RFLAGS: u64(2)},
    ),
}
each_loss = pytest.mark.parametrize("name", LOSSES)


def judged(fault, trace):
    return agrees_along(fault.scenario, ModelRun(AMX_HOST), trace)


@each_loss
def test_the_judge_sees_a_planted_loss(name):
    fault = LOSSES[name]
    assert not judged(fault, fault.plant(trace_of(fault.scenario, AMX_HOST)))


@each_loss
def test_without_the_loss_the_judge_sees_nothing(name):
    fault = LOSSES[name]
    assert judged(fault, trace_of(fault.scenario, AMX_HOST))


def test_a_checker_sees_the_loss_of_what_differs_between_processors():
    captured = (*GUEST[:-1], SetCpuid2(), GetCpuid2())
    fault = Fault("set_and_get", captured, patches={EBX_OF_LEAF_1: b"\5"})
    trace = fault.plant(trace_of(fault.scenario, AMX_HOST))
    found = {finding.checker for finding in Checkers(AMX_HOST).within(fault.scenario, trace)}
    assert (judged(fault, trace), found) == (True, {"set-and-get"})


def test_no_scenario_has_an_answer_that_may_lose_more_than_the_freedoms_say(on_each_host):
    assert [found for found in on_each_host.lost if found.freedom not in MAY_LOSE] == []


@pytest.mark.parametrize("seed", range(8))
def test_no_random_scenario_has_one(seed):
    generator, found = Generator(AMX_HOST, Random(seed)), set()
    for number in range(50):
        machine = ModelRun(AMX_HOST).start
        for _, op in generator.scenario(f"random.{number}").ops():
            step = op.step(machine)
            found |= set(lost_in(machine, op, step))
            machine = step.machine
    assert {lost for lost in found if lost.freedom not in MAY_LOSE} == set()


# RFLAGS.VM needs a vendor module; x87 state that differs in its pointers alone, and SSE and AVX
# state that is left, an AMD processor.
SHOWN = MAY_LOSE - {Freedom.VIRTUAL_8086, Freedom.X87_BY_POINTERS, Freedom.AVX_LEFT}


def test_each_freedom_that_may_lose_a_value_shows_in_a_scenario(swept):
    assert {found.freedom for found in swept(AMX_HOST).lost} == SHOWN


def test_sse_and_avx_state_in_init_that_an_amd_processor_left_shows_in_a_scenario():
    scenario, found = catalog.scenario("xsave.mxcsr-bits.plain.others", AMD_HOST), set()
    machine = ModelRun(AMD_HOST).start
    for _, op in scenario.ops():
        step = op.step(machine)
        found |= set(lost_in(machine, op, step))
        machine = step.machine
    values = {lost.value for lost in found if lost.freedom is Freedom.AVX_LEFT}
    assert (values, {lost.freedom for lost in found} - MAY_LOSE) == ({"SSE", "YMM", MXCSR}, set())


IN_USE = XTILE | B9 | 3


def after_a_read(*places):
    """What a read of these components may lose if the model left these places open."""
    filled = {nr: b"\x11" * size for nr, size in {0: 152, 1: 256, 17: 64, 18: 8192}.items()}
    given = image(IN_USE, {**filled, 9: b"\x0c" + bytes(7)}, mxcsr=0x1FA0)
    machine = uabi.set_xsave(amx_vcpu(), VCPU, given).machine
    step = uabi.get_xsave2(machine, VCPU)
    expected = step.outcome.image
    widened = step.outcome._replace(image=expected._replace(unspecified=places))
    return {lost.value for lost in lost_in(machine, GetXsave2(), step._replace(outcome=widened))}


def open_at(offset, size=1):
    return Unspecified(offset, b"\xff" * size, Freedom.XINUSE_OF_INIT)


@pytest.mark.parametrize(
    ("offset", "values"),
    [
        (XSTATE_BV, {"FP", POINTERS, "SSE", MXCSR}),
        (XSTATE_BV + 1, {"PKRU"}),
        (XSTATE_BV + 2, {"XTILE_CFG", "XTILE_DATA"}),
        (FCW, {"FP"}),
        (FIP, {POINTERS}),
        (MXCSR_AT, {MXCSR}),
        (160, {"SSE"}),
        (PKRU, {"PKRU"}),
        (TILE_DATA + 8191, {"XTILE_DATA"}),
    ],
)
def test_an_open_byte_of_a_component_in_use_is_found(offset, values):
    # What the check is for: a model that left this byte open would hide a loss.
    assert after_a_read(open_at(offset)) == values


# Byte 28 is MXCSR_MASK, 5 is reserved, 42 is padding of ST0, 2692 the upper half of PKRU's 8 bytes.
@pytest.mark.parametrize("offset", [28, 5, 42, 2692])
def test_an_open_byte_that_is_no_value_is_not_found(offset):
    assert after_a_read(open_at(offset)) == set()


def test_what_is_found_names_what_may_lose_it():
    step = uabi.get_xsave2(amx_vcpu(), VCPU)
    expected = step.outcome.image._replace(unspecified=(open_at(FCW),))
    widened = step._replace(outcome=step.outcome._replace(image=expected))
    assert set(lost_in(amx_vcpu(), GetXsave2(), widened)) == set()
    given = uabi.set_xsave(amx_vcpu(), VCPU, image(B18, {18: b"\1" * 8192})).machine
    ran = RunImmediateExit().step(given)
    lost = {Lost("XTILE_DATA", Freedom.TILES_OUTSIDE_CONFIGURATION)}
    assert set(lost_in(given, RunImmediateExit(), ran)) == lost
