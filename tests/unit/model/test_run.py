"""kernel contract sections 7.5 and 8: KVM_RUN, with live corrections 2 and 3 (INV-36)."""

import errno
import struct

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpstate import guest_mxcsr
from kvmprobe.model.msr import set_xfd
from kvmprobe.model.outcome import Done, Failed, HostDies
from kvmprobe.model.run import run_immediate_exit, run_until_halt
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.model.xcr import set_xcr0
from kvmprobe.xstate.tiles import tile_configuration
from tests.support.hosts import (
    AMX_LAYOUT,
    B9,
    B17,
    B18,
    TILES,
    VCPU,
    amx_vcpu,
    image,
    machine_with_vcpu,
    mxcsr,
    xstate_bv,
)

RUNS = [run_until_halt, run_immediate_exit]
PKRU_C = b"\x0c" + bytes(7)

both = pytest.mark.parametrize("run", RUNS, ids=["halt", "immediate-exit"])


def ran(run, *images, machine=None):
    machine = machine or amx_vcpu()
    for given in images:
        machine = set_xsave(machine, VCPU, given).machine
    return run(machine, VCPU).machine


def read(machine):
    return get_xsave2(machine, VCPU).outcome.image


def readings(machine):
    """Each image that is legal."""
    outcome = get_xsave2(machine, VCPU).outcome
    return [choice.image for choice in getattr(outcome, "choices", (outcome,))]


def open_bits(expected):
    """Bits of XSTATE_BV that are legal either way."""
    return sum(int.from_bytes(u.bits, "little") for u in expected.unspecified if u.offset == 512)


def test_a_guest_that_halts_exits_with_kvm_exit_hlt():
    # linux/kvm.h: KVM_EXIT_HLT is 5
    assert run_until_halt(amx_vcpu(), VCPU).outcome == Done(fields={"exit_reason": 5})


def test_immediate_exit_is_eintr():
    assert run_immediate_exit(amx_vcpu(), VCPU).outcome == Failed(errno.EINTR)


def test_a_real_entry_counts_as_a_run():
    assert ran(run_until_halt).vcpu(VCPU).ran


def test_immediate_exit_does_not_count_as_a_run():
    # INV-12
    assert not ran(run_immediate_exit).vcpu(VCPU).ran


@both
def test_registers_beside_the_image_are_unchanged(run):
    machine = set_xcr0(set_xfd(amx_vcpu(), VCPU, B18).machine, VCPU, 0x7).machine
    vcpu = ran(run, image(B9, {9: PKRU_C}), machine=machine).vcpu(VCPU)
    assert (vcpu.xcr0, vcpu.xfd, vcpu.xfd_err, vcpu.pkru) == (0x7, B18, 0, 0xC)


@both
@pytest.mark.parametrize("nr", [2, 5, 6, 7])
def test_content_that_is_not_init_is_kept_with_its_bit(run, nr):
    # live correction 3
    place = AMX_LAYOUT.component(nr)
    machine = ran(run, image(1 << nr, {nr: b"\x5a" * place.size}))
    got = read(machine).image
    assert (xstate_bv(got), got[place.offset : place.end]) == (1 << nr, b"\x5a" * place.size)


@both
def test_tiles_are_kept_with_their_configuration(run):
    contents = {17: tile_configuration(), 18: b"\x5a" * 8192}
    got = read(ran(run, image(TILES, contents))).image
    assert (xstate_bv(got), got[2752:11008]) == (TILES, contents[17] + contents[18])


@both
def test_tiles_without_a_configuration_are_kept_or_lost(run):
    # live correction 16: kept on the emulator, "hardware unverified"
    seen = {r.image[2816:11008] for r in readings(ran(run, image(B18, {18: b"\x5a" * 8192})))}
    assert seen == {b"\x5a" * 8192, bytes(8192)}


@both
def test_an_invalid_tile_configuration_is_kept_or_becomes_init(run):
    # live correction 3: INIT on the emulator, "real silicon is allowed to do either"
    invalid = b"\x5a" * 64
    seen = readings(ran(run, image(1 << 17, {17: invalid})))
    assert {(xstate_bv(r.image), r.image[2752:2816]) for r in seen} == {
        (1 << 17, invalid),
        (0, bytes(64)),
    }


@both
@pytest.mark.parametrize("nr", [0, 1, 2, 5, 6, 7, 17, 18])
def test_the_bit_of_init_content_may_stay_or_go(run, nr):
    # live correction 3: "bits with INIT content may drop or stay"
    init = {0: b"\x7f\x03" + bytes(150)} if nr == 0 else {}
    expected = read(ran(run, image(1 << nr, init)))
    assert not xstate_bv(expected.image) >> nr & 1
    assert open_bits(expected) >> nr & 1


@both
def test_an_absent_component_may_gain_its_bit_with_init_content(run):
    expected = read(ran(run, image(0x4, {2: b"\x22" * 256})))
    assert open_bits(expected) == 0x602E7 & ~0x4
    assert not any(expected.image[832:])


@both
def test_bits_that_the_guest_lacks_are_not_open(run):
    # INV-17
    expected = read(ran(run, machine=machine_with_vcpu(cpuid_xcr0=0x7)))
    assert open_bits(expected) == 0x7


@both
def test_the_bit_of_an_armed_component_is_clear_for_certain(run):
    # contract 7.5: "0 where xfd[i]=1"
    machine = set_xfd(amx_vcpu(), VCPU, B18).machine
    expected = read(ran(run, image(TILES, {17: tile_configuration()}), machine=machine))
    assert xstate_bv(expected.image) == 0x20000
    assert not open_bits(expected) & B18


@both
def test_the_content_of_an_armed_component_is_gone(run):
    machine = set_xsave(amx_vcpu(), VCPU, image(B18, {18: b"\x11" * 8192})).machine
    disarmed = set_xfd(ran(run, machine=set_xfd(machine, VCPU, B18).machine), VCPU, 0).machine
    assert not any(read(disarmed).image[2816:])


@both
def test_sse_with_zero_xmm_and_another_mxcsr_is_not_init(run):
    # live correction 2: "With BV={SSE}, XMM zero, MXCSR 0x1fa0: BV[1] stays 1"
    expected = read(ran(run, image(0x2, mxcsr=0x1FA0)))
    assert (xstate_bv(expected.image), mxcsr(expected.image)) == (0x2, 0x1FA0)


@both
def test_mxcsr_stored_with_ymm_alone_is_reported_unless_sse_is_found_in_use(run):
    # live correction 2: "XSAVES with SSE in INIT does not write MXCSR"; if it does, it is 0x1f80.
    given = image(0x4, {2: b"\x22" * 256}, mxcsr=0x1FA0)
    seen = {(xstate_bv(r.image) & 0x6, mxcsr(r.image)) for r in readings(ran(run, given))}
    assert seen == {(0x4, 0x1FA0), (0x6, 0x1F80)}


@both
def test_the_guest_has_mxcsr_1f80_when_it_came_with_ymm_alone(run):
    # live correction 2: guest STMXCSR reads 0x1f80
    machine = ran(run, image(0x4, {2: b"\x22" * 256}, mxcsr=0x1FA0))
    assert guest_mxcsr(machine.host, machine.vcpu(VCPU).fpstate) == 0x1F80


@both
@pytest.mark.parametrize("bv", [0x0, 0x1, 0x60000])
def test_mxcsr_is_1f80_after_a_load_without_sse_and_ymm(run, bv):
    # live correction 2; what lies under YMM that hardware finds in use was written before.
    seen = readings(ran(run, image(0x2, mxcsr=0x1FA0), image(bv, mxcsr=0x1FA0)))
    assert {mxcsr(r.image) for r in seen if not xstate_bv(r.image) & 0x4} == {0x1F80}


@both
def test_a_second_run_may_have_written_mxcsr_before(run):
    machine = ran(run, image(0x4, {2: b"\x22" * 256}, mxcsr=0x1FA0))
    seen = {mxcsr(r.image) for r in readings(run(machine, VCPU).machine)}
    assert seen == {0x1FA0, 0x1F80}


@both
def test_with_a_pkru_of_zero_its_bit_is_open(run):
    assert open_bits(read(ran(run))) & B9


@both
def test_another_pkru_is_exported_with_its_bit(run):
    # contract 7.5: without the bit the image would say 0, and the guest's value were lost.
    expected = read(ran(run, image(B9, {9: PKRU_C})))
    found = xstate_bv(expected.image) >> 9 & 1, expected.image[2688:2696]
    assert (found, open_bits(expected) & B9) == ((1, PKRU_C), 0)


@both
def test_pkru_is_hidden_from_a_guest_without_it_after_a_run(run):
    machine = machine_with_vcpu(cpuid_xcr0=0x7)
    assert not open_bits(read(ran(run, image(B9, {9: PKRU_C}), machine=machine))) & B9


def test_after_a_run_the_padding_of_st_registers_is_open_if_it_was_not_zero():
    # INV-20: "After a run, reserved pad bytes of ST registers may also become 0."
    given = image(0x1, {0: bytes(24) + b"\x33" * 128})
    spans = {u.offset: u.bits for u in read(ran(run_until_halt, given)).unspecified}
    assert spans[32] == (bytes(10) + b"\x33" * 6) * 8


def tiles_with(rows, columns, data):
    configuration = bytearray(64)
    configuration[0], configuration[48] = 1, rows
    struct.pack_into("<H", configuration, 16, columns)
    tiles = bytes([7] * columns).ljust(64, b"\0") * rows
    return image(TILES, {17: bytes(configuration), 18: (tiles + data).ljust(8192, b"\0")})


def tile_bits(given):
    """Whether each of the tile components is certainly in use after a run."""
    fpstate = ran(run_until_halt, given, machine=amx_vcpu()).vcpu(VCPU).fpstate
    return fpstate.xstate_bv & TILES


def test_tiles_that_are_smaller_than_they_could_be_are_kept():
    assert tile_bits(tiles_with(5, 24, b"")) == TILES


def test_tile_data_outside_the_configured_tiles_may_be_lost():
    assert tile_bits(tiles_with(5, 24, b"\1")) == B17


def test_after_a_run_with_the_patterns_x87_is_certain():
    # x87 pointers and padding are zero in the pattern.
    given = image(0x1, {0: b"\x7f\x02\0\0\xff" + bytes(147)})
    assert {u.offset for u in read(ran(run_until_halt, given)).unspecified} == {512}


@both
def test_b1_and_a_run_kill_the_host(run):
    # known-bugs B1: SET_MSRS(XFD), SET_XSAVE(BV=0x60000), KVM_RUN panics.
    machine = set_xfd(amx_vcpu(Behaviour.SET_XSAVE_KEEPS_XFD_ARMED), VCPU, B18).machine
    loaded = set_xsave(machine, VCPU, image(TILES)).machine
    assert isinstance(run(loaded, VCPU).outcome, HostDies)


@both
def test_o1_and_a_run_kill_the_host(run):
    # known-bugs O1: SET_XSAVE(BV[18]), SET_MSRS(XFD), KVM_RUN panics; immediate_exit too (5.4).
    machine = amx_vcpu(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    armed = set_xfd(set_xsave(machine, VCPU, image(TILES)).machine, VCPU, B18).machine
    assert isinstance(run(armed, VCPU).outcome, HostDies)


@both
@pytest.mark.parametrize("first", ["xfd", "xsave"])
def test_a_correct_kernel_survives_either_order(run, first):
    machine = amx_vcpu()
    if first == "xfd":
        machine = set_xsave(set_xfd(machine, VCPU, B18).machine, VCPU, image(TILES)).machine
    else:
        machine = set_xfd(set_xsave(machine, VCPU, image(TILES)).machine, VCPU, B18).machine
    assert not isinstance(run(machine, VCPU).outcome, HostDies)


def test_o1_is_harmless_once_xfd_is_disarmed_again():
    # contract 5.4: "Then SET_MSRS(XFD=0) to disarm".
    machine = amx_vcpu(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    armed = set_xfd(set_xsave(machine, VCPU, image(TILES)).machine, VCPU, B18).machine
    disarmed = set_xfd(armed, VCPU, 0).machine
    assert not isinstance(run_until_halt(disarmed, VCPU).outcome, HostDies)


def test_the_reason_names_the_component():
    machine = set_xfd(amx_vcpu(Behaviour.SET_XSAVE_KEEPS_XFD_ARMED), VCPU, B18).machine
    outcome = run_until_halt(set_xsave(machine, VCPU, image(TILES)).machine, VCPU).outcome
    assert outcome.reason.endswith("XSTATE_BV & XFD = 0x40000 (XTILE_DATA)")
