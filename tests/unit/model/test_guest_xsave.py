"""The XSAVE feature set in a guest: SDM vol.1 §13.7 to §13.14."""

import struct
from functools import partial

import pytest

from kvmprobe.model import guest_xsave as xsave
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.model.uabi import set_xsave
from tests.support.guests import (
    ALL,
    GP,
    NM,
    NONE,
    UD,
    area_header,
    in_payload,
    memory,
    open_bits,
    run,
    step,
    vector,
    without_feature,
)
from tests.support.hosts import (
    AMX_HOST,
    B0,
    B1,
    B2,
    B9,
    B17,
    B18,
    TILES,
    VCPU,
    cet_host,
    image,
    mxcsr,
)

SIZE = 11008
EVERY = (1 << 64) - 1
TS = {"cr0": 0x8001_003B}
CONTENTS = {
    0: b"\x7f\x02\x00\x00\xff" + bytes(19) + b"\x11" * 128,
    1: b"\x12" * 256,
    2: b"\x13" * 256,
    17: b"\x14" * 64,
    18: b"\x15" * 8192,
}
SAVES = {form: partial(xsave.xsave, form=form, before=bytes(SIZE)) for form in SaveForm}
COMPACTING = [SaveForm.XSAVEC, SaveForm.XSAVES]
each_form = pytest.mark.parametrize("form", SaveForm)


def holding(xstate_bv, **fields):
    mxcsr_value = fields.pop("mxcsr", 0x1F80)
    machine = in_payload(**fields)
    return set_xsave(machine, VCPU, image(xstate_bv, CONTENTS, mxcsr=mxcsr_value)).machine


def area(xstate_bv=0, xcomp_bv=0, *, mxcsr=0x1F80, reserved=0, contents=None):
    """A standard-format area; the compacted one is the same up to YMM."""
    content = bytearray(image(xstate_bv, contents or {}, mxcsr=mxcsr))
    struct.pack_into("<3Q", content, 512, xstate_bv, xcomp_bv, reserved)
    return bytes(content)


def restores(form=RestoreForm.XRSTOR, **fields):
    return partial(xsave.xrstor, form=form, memory=area(**fields))


@each_form
def test_without_osxsave_it_is_ud(form):
    assert vector(in_payload(cr4=0x620), SAVES[form], EVERY) == UD


@each_form
def test_under_ts_it_is_nm(form):
    assert vector(in_payload(**TS), SAVES[form], EVERY) == NM


@each_form
def test_an_area_off_its_alignment_is_gp(form):
    assert vector(in_payload(), partial(SAVES[form], offset=8), EVERY) == GP


def test_xsaves_and_xrstors_need_their_cpuid_the_others_do_not():
    # kernel contract 10: KVM enables XSAVES for guests that have it
    machine = in_payload(without_feature(0xD, 1, "eax", 3))
    found = [vector(machine, SAVES[form], EVERY) for form in SaveForm]
    found.append(vector(machine, restores(RestoreForm.XRSTORS, xcomp_bv=COMPACTED)))
    assert found == [NONE, NONE, NONE, UD, UD]


@each_form
def test_components_in_use_are_saved_and_told(form):
    content = memory(holding(B0 | B1), SAVES[form], EVERY)
    assert (content[160:416], area_header(content)[0] & 3) == (CONTENTS[1], 3)


@each_form
def test_what_rfbm_does_not_ask_for_is_left_alone(form):
    content = memory(holding(B0 | B1), SAVES[form], B0)
    assert (content[160:416], area_header(content)[0]) == (bytes(256), 1)


@each_form
def test_what_xcr0_lacks_is_not_saved(form):
    content = memory(holding(B1 | B2, xcr0=3), SAVES[form], EVERY)
    assert (content[576:832], area_header(content)[0] & 7) == (bytes(256), 2)


@pytest.mark.parametrize("form", COMPACTING)
def test_xcomp_bv_is_rfbm_and_bit_63(form):
    assert area_header(memory(holding(B1), SAVES[form], 7))[1] == 1 << 63 | 7


@pytest.mark.parametrize("form", COMPACTING)
def test_tiles_are_compacted_on_64_bytes(form):
    # 576 + YMM 256 = 832 = 13 * 64; TILECFG 64, then TILEDATA at 896
    content = memory(holding(TILES), SAVES[form], B2 | TILES)
    assert (content[832:896], content[896:9088]) == (CONTENTS[17], CONTENTS[18])


@pytest.mark.parametrize("form", COMPACTING)
def test_mxcsr_makes_sse_state_in_use_for_these_alone(form):
    assert area_header(memory(holding(B1, mxcsr=0x1FA0), SAVES[form], B1))[0] == 2


@pytest.mark.parametrize(("rfbm", "shown"), [(B0, 0), (B1, 0x1FA0), (B2, 0x1FA0)])
def test_standard_forms_write_mxcsr_with_sse_or_avx(rfbm, shown):
    machine = holding(B1, mxcsr=0x1FA0)
    assert mxcsr(memory(machine, SAVES[SaveForm.XSAVE], rfbm)) == shown


@each_form
def test_what_xfd_disables_is_saved_as_init_without_nm(form):
    # SDM vol.1 §13.14; live: XCOMP_BV keeps the bit
    outcome = step(holding(B17, xfd=B18), SAVES[form], TILES).outcome
    bits = area_header(outcome.memory.content)[0] | open_bits(outcome)
    assert (outcome.fields["vector"], bits) == (NONE, B17)


def test_pkru_is_saved_where_xcr0_has_it():
    content = memory(in_payload(pkru=0xC), SAVES[SaveForm.XSAVE], EVERY)
    assert (content[2688:2696], area_header(content)[0] & B9) == (b"\x0c" + bytes(7), B9)


@pytest.mark.parametrize(
    "fields",
    [
        {"xstate_bv": 1 << 62},
        {"xcomp_bv": 1},
        {"reserved": 1},
        {"xcomp_bv": COMPACTED | 1 << 62},
        {"xstate_bv": B1, "xcomp_bv": COMPACTED | B0},
        {"xcomp_bv": COMPACTED, "reserved": 1},
        {"mxcsr": 1 << 31},
        {"xstate_bv": B1, "xcomp_bv": COMPACTED | B1, "mxcsr": 1 << 31},
    ],
    ids=str,
)
def test_an_illegal_area_is_gp_and_changes_nothing(fields):
    # SDM vol.1 §13.8.1, §13.8.2
    machine = holding(B1)
    done = step(machine, restores(**fields), EVERY)
    assert done.outcome.fields["vector"] == GP
    assert done.machine.vcpu(VCPU).fpstate.contents[1] == CONTENTS[1]


def test_xrstors_takes_the_compacted_format_alone():
    assert vector(in_payload(), restores(RestoreForm.XRSTORS), EVERY) == GP


def test_a_standard_area_with_a_bit_that_xcr0_lacks_is_gp():
    assert vector(in_payload(xcr0=3), restores(xstate_bv=B2), EVERY) == GP


def test_an_illegal_mxcsr_is_not_looked_at_without_sse_and_avx():
    assert vector(in_payload(), restores(mxcsr=1 << 31), B0) == NONE


def test_what_rfbm_asks_for_and_the_area_lacks_becomes_init():
    machine = step(holding(B1), restores(), EVERY).machine
    assert 1 not in machine.vcpu(VCPU).fpstate.contents


def test_what_rfbm_does_not_ask_for_stays():
    machine = step(holding(B1), restores(), B0).machine
    assert machine.vcpu(VCPU).fpstate.contents[1] == CONTENTS[1]


def test_a_component_is_loaded_from_its_standard_place():
    restore = restores(xstate_bv=B18, contents={18: CONTENTS[18]})
    machine = step(in_payload(), restore, EVERY).machine
    assert machine.vcpu(VCPU).fpstate.contents[18] == CONTENTS[18]


@pytest.mark.parametrize("form", RestoreForm)
def test_and_from_its_compacted_one(form):
    content = bytearray(area(xstate_bv=B17, xcomp_bv=COMPACTED | B2 | B17))
    content[832:896] = CONTENTS[17]
    restore = partial(xsave.xrstor, form=form, memory=bytes(content))
    assert (
        step(in_payload(), restore, EVERY).machine.vcpu(VCPU).fpstate.contents[17] == CONTENTS[17]
    )


@pytest.mark.parametrize(
    ("fields", "rfbm", "expected"),
    [
        ({}, B2, 0x1FA0),
        ({}, B0, 0x1F00),
        ({"xstate_bv": B1, "xcomp_bv": COMPACTED | 3}, B1, 0x1FA0),
        ({"xcomp_bv": COMPACTED | 3}, B1, 0x1F80),
        ({"xcomp_bv": COMPACTED | 3}, B2, 0x1F00),
    ],
    ids=str,
)
def test_mxcsr_is_loaded_by_the_formats_rule(fields, rfbm, expected):
    # SDM vol.1 §13.8.1: RFBM[1] or RFBM[2]; §13.8.2: RFBM[1], INIT if XSTATE_BV[1] is 0
    machine = holding(B1, mxcsr=0x1F00)
    after = step(machine, restores(**fields, mxcsr=0x1FA0), rfbm).machine
    shown = memory(after, partial(xsave.fxsave, before=bytes(512)))
    assert mxcsr(shown + bytes(64)) == expected


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (RestoreForm.XRSTOR, {"xstate_bv": TILES}),
        (RestoreForm.XRSTOR, {"xstate_bv": B18, "xcomp_bv": COMPACTED | ALL}),
        (RestoreForm.XRSTORS, {"xstate_bv": B18, "xcomp_bv": COMPACTED | ALL}),
    ],
)
def test_loading_what_xfd_disables_is_nm(form, fields):
    done = step(in_payload(xfd=B18), restores(form, **fields), EVERY)
    assert (done.outcome.fields["vector"], done.machine.vcpu(VCPU).xfd_err) == (NM, B18)


@pytest.mark.parametrize(("xstate_bv", "rfbm"), [(B17, EVERY), (TILES, B17)])
def test_initialising_or_not_asking_for_it_is_not(xstate_bv, rfbm):
    assert vector(in_payload(xfd=B18), restores(xstate_bv=xstate_bv), rfbm) == NONE


def test_pkru_is_restored():
    restore = restores(xstate_bv=B9, contents={9: b"\x30" + bytes(7)})
    assert step(in_payload(), restore, EVERY).machine.vcpu(VCPU).pkru == 0x30


@pytest.mark.parametrize("cr0", [0x8001_003B, 0x8001_0037])
def test_fxsave_under_ts_or_em_is_nm(cr0):
    assert vector(in_payload(cr0=cr0), partial(xsave.fxsave, before=bytes(512))) == NM


def test_fxsave_shows_x87_sse_and_mxcsr_and_its_mask():
    shown = memory(holding(B0 | B1, mxcsr=0x1FA0), partial(xsave.fxsave, before=bytes(512)))
    assert shown[160:416] == CONTENTS[1]
    assert struct.unpack_from("<II", shown, 24) == (0x1FA0, AMX_HOST.mxcsr_mask)


def test_fxrstor_replaces_both_and_leaves_avx():
    fxrstor = partial(xsave.fxrstor, memory=image(3, {1: b"\x44" * 256})[:512])
    contents = run(holding(B1 | B2), fxrstor).vcpu(VCPU).fpstate.contents
    assert (contents[1], contents[2]) == (b"\x44" * 256, CONTENTS[2])


def test_fxrstor_of_an_illegal_mxcsr_is_gp():
    fxrstor = partial(xsave.fxrstor, memory=image(3, mxcsr=1 << 31)[:512])
    assert vector(in_payload(), fxrstor) == GP


CET = 0x1800
FPSSE_YMM = 7


def with_supervisor_state(xss=CET):
    """A guest with both CET components, none in INIT state, and IA32_XSS."""
    host = cet_host(ibt=True)
    msrs = {0x6A0: 1, 0x6A7: 0x1000, 0x6A4: 0x2000, 0x6A5: 0x3000, 0x6A6: 0x4000}
    fields = {"xcr0": FPSSE_YMM, "xss": xss, "guest_xss": CET, "msrs": msrs}
    return in_payload(host.supported, host=host, **fields)


def cet_state(machine):
    return [machine.vcpu(VCPU).msrs.get(index, 0) for index in (0x6A0, 0x6A7, 0x6A4, 0x6A5, 0x6A6)]


# Fault 20: SDM vol.1 §13.12: components of RFBM that the area lacks are initialised.
def test_xrstors_initialises_supervisor_components_that_the_area_lacks():
    restore = restores(RestoreForm.XRSTORS, xstate_bv=7, xcomp_bv=COMPACTED | 7)
    after = step(with_supervisor_state(), restore, EVERY)
    assert after.outcome.fields["vector"] == NONE
    assert cet_state(after.machine) == [0, 0, 0, 0, 0]


def test_xrstors_leaves_supervisor_components_outside_rfbm():
    restore = restores(RestoreForm.XRSTORS, xstate_bv=7, xcomp_bv=COMPACTED | 7)
    after = step(with_supervisor_state(), restore, 7).machine
    assert cet_state(after) == [1, 0x1000, 0x2000, 0x3000, 0x4000]


@pytest.mark.parametrize(("xss", "expected"), [(CET, NONE), (0, GP)])
def test_xcomp_bv_needs_xss(xss, expected):
    restore = restores(RestoreForm.XRSTORS, xstate_bv=7, xcomp_bv=COMPACTED | CET | 7)
    assert vector(with_supervisor_state(xss), restore, EVERY) == expected


def test_xrstor_has_no_supervisor_components():
    restore = restores(RestoreForm.XRSTOR, xstate_bv=7, xcomp_bv=COMPACTED | CET | 7)
    assert vector(with_supervisor_state(), restore, EVERY) == GP


def test_xsaves_puts_supervisor_components_behind_those_with_a_lower_number():
    # SDM vol.1 §13.4.3: 576 and 256 bytes of YMM; 0xD.11:EAX=16, 0xD.12:EAX=24, neither aligned.
    saved = memory(with_supervisor_state(), SAVES[SaveForm.XSAVES], EVERY)
    assert area_header(saved) == (CET, COMPACTED | CET | 7)
    assert struct.unpack_from("<5Q", saved, 576 + 256) == (1, 0x1000, 0x2000, 0x3000, 0x4000)


def test_xrstors_loads_what_xsaves_saved():
    machine = with_supervisor_state()
    saved = memory(machine, SAVES[SaveForm.XSAVES], EVERY)
    cleared = run(machine, partial(restores(RestoreForm.XRSTORS, xcomp_bv=COMPACTED)))
    load = partial(xsave.xrstor, form=RestoreForm.XRSTORS, memory=saved)
    assert cet_state(step(cleared, load, EVERY).machine) == [1, 0x1000, 0x2000, 0x3000, 0x4000]


@pytest.mark.parametrize(
    ("instruction", "value"),
    [
        (partial(xsave.fxsave, before=bytes(512)), 0),
        *[(SAVES[form], B0) for form in SaveForm],
    ],
)
def test_padding_of_x87_registers_in_an_area_may_be_0(instruction, value):
    # SDM vol.1 table 10-2: bytes 42 to 47 of the area are reserved, after the 10 of ST0
    outcome = step(holding(B0), instruction, value).outcome
    places = [place for place in outcome.memory.unspecified if place.offset == 32]
    assert [place.bits[:16] for place in places] == [bytes(10) + b"\x11" * 6]
