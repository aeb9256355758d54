"""Shadow stacks and indirect branch tracking in a guest: SDM vol.1 ch.17, vol.2."""

from functools import partial

import pytest

from kvmprobe.abi.payload import DATA, SHADOW, STACKS
from kvmprobe.errors import NotModelled
from kvmprobe.model import guest_shadow_stack as model
from kvmprobe.model.control import Cr4
from kvmprobe.model.guest_control import read_cr0, ud2, xsetbv_by_user
from kvmprobe.model.guest_shadow_stack import Token
from kvmprobe.model.machine import GuestCpuid
from tests.support.guests import GP, NONE, OSXSAVE, UD, in_payload, step
from tests.support.hosts import VCPU, cet_host, with_fields

HOST = cet_host(ibt=True)
S_CET, PL0_SSP = 0x6A2, 0x6A4
SH_STK_EN, WR_SHSTK_EN, ENDBR_EN, TRACKER = 1, 2, 4, 1 << 11
PF, CP = 14, 21
FIRST = SHADOW + STACKS
TOP, OTHER = FIRST + 0x1000, FIRST + 0x800


def guest(*, s_cet=SH_STK_EN | WR_SHSTK_EN, cet=True, ssp=TOP, **msrs):
    """A guest of a host with CET, in the payload."""
    machine = in_payload(host=HOST, cr4=0x620 | OSXSAVE | (Cr4.CET.bit if cet else 0), ssp=ssp)
    values = {S_CET: s_cet, PL0_SSP: msrs.get("pl0_ssp", 0)}
    return with_fields(machine, cpuid=GuestCpuid.of(HOST.supported), msrs=values)


def after(machine, instruction, rax=0):
    """Vector, error code, RAX, RBX and the SSP after an instruction."""
    done = step(machine, instruction, rax=rax)
    fields = done.outcome.fields
    ssp = done.machine.vcpu(VCPU).ssp
    return (*(fields[name] for name in ("vector", "error_code", "rax", "rbx")), ssp)


def token(value, address):
    return {"token": Token(value, address - SHADOW), "address": address}


def on_token(instruction, value, address):
    return partial(instruction, **token(value, address))


INSTRUCTIONS = {
    "INCSSP": model.incssp,
    "SETSSBSY": partial(model.setssbsy, token=Token(OTHER, OTHER - SHADOW)),
    "CLRSSBSY": on_token(model.clrssbsy, OTHER, OTHER),
    "RSTORSSP": on_token(model.rstorssp, OTHER, OTHER),
    "SAVEPREVSSP": on_token(model.switch_stacks, OTHER, OTHER),
    "WRSS": on_token(model.wrss, 0, OTHER),
}


@pytest.mark.parametrize("fields", [{"cet": False}, {"s_cet": WR_SHSTK_EN}], ids=["CR4", "S_CET"])
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_without_a_shadow_stack_it_does_not_exist(name, fields):
    assert after(guest(**fields), INSTRUCTIONS[name])[0] == UD


def test_without_a_shadow_stack_rdssp_is_a_nop():
    read = [after(guest(cet=cet), model.rdssp, rax=0x55)[2] for cet in (False, True)]
    assert read == [0x55, TOP]


@pytest.mark.parametrize(("count", "popped"), [(1, 8), (4, 32), (0x102, 16)])
def test_incssp_pops_as_many_entries_as_al_says(count, popped):
    assert after(guest(ssp=OTHER), model.incssp, rax=count)[4] == OTHER + popped


def test_wrss_needs_its_enable_bit():
    assert after(guest(s_cet=SH_STK_EN), INSTRUCTIONS["WRSS"])[0] == UD


def test_wrss_writes():
    assert after(guest(), INSTRUCTIONS["WRSS"], rax=5) == (NONE, 0, 5, 5, TOP)


def test_wrss_to_ordinary_memory_is_a_shadow_stack_write_fault():
    # SDM vol.3 4.7: P, W/R and SS
    instruction = partial(model.wrss, token=Token(0, STACKS), address=DATA)
    assert after(guest(), instruction)[:2] == (PF, 0x43)


@pytest.mark.parametrize("name", ["CLRSSBSY", "RSTORSSP", "WRSS"])
def test_an_operand_is_aligned_to_8_bytes(name):
    instruction = partial(INSTRUCTIONS[name].func, **token(0, OTHER + 4))
    assert after(guest(), instruction)[0] == GP


def test_setssbsy_takes_a_free_token_and_makes_it_busy():
    machine = guest(pl0_ssp=OTHER)
    assert after(machine, INSTRUCTIONS["SETSSBSY"]) == (NONE, 0, 0, OTHER | 1, OTHER)


@pytest.mark.parametrize("value", [OTHER | 1, OTHER + 8, 0])
def test_setssbsy_of_another_token_is_a_control_protection_exception(value):
    instruction = partial(model.setssbsy, token=Token(value, OTHER - SHADOW))
    assert after(guest(pl0_ssp=OTHER), instruction)[:2] == (CP, 5)


@pytest.mark.parametrize(("value", "left"), [(OTHER | 1, OTHER), (OTHER, OTHER), (7, 7)])
def test_clrssbsy_frees_a_busy_token_and_clears_ssp_in_any_case(value, left):
    assert after(guest(), on_token(model.clrssbsy, value, OTHER)) == (NONE, 0, 0, left, 0)


def test_rstorssp_turns_to_the_other_stack_and_leaves_a_previous_ssp_token():
    instruction = on_token(model.rstorssp, OTHER + 8 | 1, OTHER)
    assert after(guest(), instruction) == (NONE, 0, 0, TOP | 3, OTHER)


@pytest.mark.parametrize(
    "value", [OTHER + 8, OTHER + 8 | 3, OTHER + 8 | 2, OTHER | 1, OTHER + 16 | 1]
)
def test_rstorssp_of_another_token_is_a_control_protection_exception(value):
    assert after(guest(), on_token(model.rstorssp, value, OTHER))[:2] == (CP, 4)


def test_saveprevssp_leaves_a_token_on_the_stack_before():
    instruction = on_token(model.switch_stacks, OTHER + 8 | 1, OTHER)
    assert after(guest(), instruction) == (NONE, 0, 0, TOP | 1, OTHER + 8)


def test_an_exception_pushes_three_entries():
    # CS, LIP, SSP
    assert [after(guest(cet=cet), ud2)[4] for cet in (True, False)] == [TOP - 24, TOP]


def test_a_return_elsewhere_is_a_control_protection_exception_after_a_call():
    assert after(guest(), model.return_elsewhere) == (CP, 1, 0, 0, TOP - 32)
    assert after(guest(cet=False), model.return_elsewhere)[0] == NONE


@pytest.mark.parametrize(
    ("fields", "vector"), [({}, CP), ({"cet": False}, NONE), ({"s_cet": SH_STK_EN}, NONE)]
)
def test_an_untracked_jump_is_a_control_protection_exception(fields, vector):
    assert after(guest(**{"s_cet": ENDBR_EN, **fields}), model.jump_untracked)[0] == vector


@pytest.mark.parametrize(
    ("fields", "instruction"),
    [
        # Their push faults, or what is on the stack is not known.
        ({"ssp": 0}, ud2),
        ({"ssp": TOP + 4}, model.call),
        ({"ssp": FIRST + 16}, ud2),
        ({"ssp": 0}, model.incssp),
        ({}, partial(model.wrss, token=Token(0, STACKS), address=OTHER)),
        ({"pl0_ssp": TOP}, INSTRUCTIONS["SETSSBSY"]),
        # The payload's own code has no ENDBR64 there.
        ({"s_cet": ENDBR_EN | TRACKER}, read_cr0),
        # IRET and INT to and from CPL 3
        ({}, xsetbv_by_user),
    ],
)
def test_what_the_model_does_not_know_it_refuses(fields, instruction):
    with pytest.raises(NotModelled):
        after(guest(**fields), instruction)
