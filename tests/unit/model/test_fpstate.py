"""What lies in the guest's fpstate: kernel contract 7.5, live corrections 2, 3, 14 to 16."""

import pytest

from kvmprobe.model.fpstate import cycle_fpu, guest_mxcsr, raw_legacy
from kvmprobe.model.open_bits import resolved
from kvmprobe.model.uabi import set_xsave
from kvmprobe.xstate.tiles import tile_configuration
from tests.support.hosts import AMX_HOST, B18, TILES, VCPU, amx_vcpu, image, machine_with_vcpu

FP = b"\x7f\x02" + bytes(22) + (b"\x33" * 10 + bytes(6)) * 8
FP_INIT = b"\x7f\x03" + bytes(150)
XMM = b"\x44" * 256


def after(*images, machine=None):
    machine = machine or amx_vcpu()
    for given in images:
        machine = set_xsave(machine, VCPU, given).machine
    return machine.vcpu(VCPU).fpstate


def with_fpstate(fpstate):
    machine = amx_vcpu()
    return machine.with_vcpu(VCPU, machine.vcpu(VCPU)._replace(fpstate=fpstate))


def cycled(*images):
    return cycle_fpu(AMX_HOST, after(*images))


@pytest.mark.parametrize(("nr", "held"), [(0, FP_INIT), (1, bytes(256))])
def test_a_fresh_vcpu_holds_init_bytes(nr, held):
    # contract 0.1: "legacy area FCW=0x37f, MXCSR=0x1f80, rest zero"
    assert raw_legacy(AMX_HOST, machine_with_vcpu().vcpu(VCPU).fpstate, nr) == (held,)


def test_a_set_bit_tells_what_the_bytes_are():
    assert raw_legacy(AMX_HOST, after(image(0x3, {0: FP, 1: XMM})), 1) == (XMM,)


def test_an_image_without_the_component_leaves_its_bytes():
    assert raw_legacy(AMX_HOST, after(image(0x3, {0: FP}), image(0)), 0) == (FP,)


def test_hardware_may_write_init_over_bytes_under_a_clear_bit():
    fpstate = cycle_fpu(AMX_HOST, after(image(0x3, {0: FP}), image(0)))
    assert raw_legacy(AMX_HOST, fpstate, 0) == (FP, FP_INIT)


def test_what_hardware_may_have_written_stays_open_behind_another_image():
    fpstate = after(image(0x3, {0: FP}), image(0))
    machine = with_fpstate(cycle_fpu(AMX_HOST, fpstate))
    again = after(image(0x4), machine=machine)
    assert raw_legacy(AMX_HOST, again, 0) == (FP, FP_INIT)


def test_a_component_that_is_set_again_is_certain():
    fpstate = after(image(0x3, {0: FP}), image(0))
    machine = with_fpstate(cycle_fpu(AMX_HOST, fpstate))
    again = after(image(0x1, {0: FP}), image(0), machine=machine)
    assert raw_legacy(AMX_HOST, again, 0) == (FP,)


def test_a_kept_component_is_not_open():
    fpstate = cycled(image(0x3, {0: FP, 1: XMM}))
    assert (fpstate.xstate_bv, fpstate.xstate_bv_open & 0x3) == (0x3, 0)


def test_x87_with_nothing_but_garbage_in_its_padding_may_become_init():
    # INV-20: "After a run, reserved pad bytes of ST registers may also become 0."
    padded = FP_INIT[:24] + (bytes(10) + b"\xee" * 6) * 8
    fpstate = cycled(image(0x1, {0: padded}))
    assert (fpstate.xstate_bv & 1, fpstate.xstate_bv_open & 1) == (0, 1)
    assert {v.contents.get(0) for v in resolved(AMX_HOST, fpstate, 0x1, pkru=0)} == {padded, None}


def test_tiles_that_may_be_kept_still_count_as_fatal():
    # A load of XTILE_DATA under XFD is fatal if its bit is set: contract 12.
    fpstate = cycled(image(B18, {18: b"\x5a" * 8192}))._replace(xfd=B18)
    assert fpstate.load_faults == B18


def test_kept_tiles_count_as_fatal():
    contents = {17: tile_configuration(), 18: b"\x5a" * 8192}
    assert cycled(image(TILES, contents))._replace(xfd=B18).load_faults == B18


def test_tiles_in_init_state_do_not_count_as_fatal():
    assert not cycled(image(B18))._replace(xfd=B18).load_faults


def test_the_guest_gets_the_mxcsr_that_comes_with_sse():
    assert guest_mxcsr(AMX_HOST, after(image(0x2, mxcsr=0x1FA0))) == 0x1FA0


@pytest.mark.parametrize("bv", [0x0, 0x1, 0x4, 0x5])
def test_the_guest_gets_mxcsr_1f80_without_sse(bv):
    # live correction 2
    assert guest_mxcsr(AMX_HOST, after(image(bv, mxcsr=0x1FA0))) == 0x1F80


def test_without_a_run_nothing_is_to_be_decided():
    fpstate = after(image(0x602E7, mxcsr=0x1FA0))
    assert resolved(AMX_HOST, fpstate, 0x602E7, pkru=0) == (fpstate,)
