"""Saved guests on other hosts, as the model has them."""

from dataclasses import replace

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.model.guest_migration import Part
from kvmprobe.moves.guests import Use, uses
from kvmprobe.moves.orders import Saved, with_components
from kvmprobe.moves.restoring import Lost, restored
from kvmprobe.moves.resuming import NotTaken, resuming
from kvmprobe.moves.saving import saving
from kvmprobe.recordings.payloads import pack
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.vmm.findings import Piece, PieceKind
from kvmprobe.xstate.image import xstate_bv_of
from tests.support.probed import profile_of
from tests.support.saved_guests import ORDERS, saved_guest

WHOLE = {"hyperlight", "kvmtool", "kselftest-xsave-only", "cloud-hypervisor"}
MOVING = sorted(ORDERS.keys() - WHOLE)
HOST = profile_of("7.3.4")


@pytest.mark.parametrize("order", MOVING)
def test_the_guest_loses_what_compat_says(order):
    preset = ORDERS[order]
    for use in uses(HOST.supported, preset.states):
        guest = saved_guest(HOST, order, use)
        resumed = resuming(guest, preset, HOST)
        vcpu = saved_vcpu(order, use)
        found = restored(Saved(HOST, vcpu, HOST), preset.tokens)
        assert set(resumed.lost) == {one.piece for one in found}
        assert all(isinstance(one, Lost) for one in found)
        assert len(resumed.scenario.steps) > 30


def saved_vcpu(order, use):
    scenario = saving(HOST, ORDERS[order], use)
    return ModelRun(HOST).walked(scenario)[-1].step.machine.vcpu("vcpu0")


@pytest.mark.parametrize("use", [Use.TILES, Use.ARMED, Use.IN_NM])
def test_a_guest_with_amx_is_refused_without_amx(use):
    guest = saved_guest(HOST, "qemu-full", use)
    with pytest.raises(
        NotTaken, match=r"KVM_SET_CPUID2.* fails with EPERM .* lacks 0x40000 \(XTILE_DATA\)"
    ):
        resuming(guest, ORDERS["qemu-full"], profile_of("7.3.4-no-amx"))


def test_a_guest_with_cet_is_refused_without_cet():
    guest = saved_guest(HOST, "qemu-cet", Use.CET)
    with pytest.raises(NotTaken, match=r"KVM_SET_SREGS of.* fails with EINVAL .* lacks CR4.CET"):
        resuming(guest, ORDERS["qemu-cet"], profile_of("6.12.95"))


def test_a_guest_without_amx_goes_on_without_amx():
    guest = saved_guest(HOST, "qemu-full", Use.NO_TILES)
    assert resuming(guest, ORDERS["crosvm"], profile_of("7.3.4-no-amx")).lost == ()


def test_a_component_that_is_gone_from_the_image_is_found_lost():
    guest = saved_guest(HOST, "qemu-full", Use.TILES)
    image = guest.part(Part.XSAVE)
    without = with_components(image, xstate_bv_of(image) & ~(1 << 9))
    changed = replace(guest, parts={**guest.parts, Part.XSAVE: pack(without)})
    assert resuming(changed, ORDERS["qemu-full"], HOST).lost == (Piece(PieceKind.COMPONENT, 9),)


def test_one_changed_byte_is_found():
    guest = saved_guest(HOST, "qemu-full", Use.TILES)
    image = bytearray(guest.part(Part.XSAVE))
    image[2816 + 100] ^= 1  # in XTILE_DATA
    changed = replace(guest, parts={**guest.parts, Part.XSAVE: pack(bytes(image))})
    assert resuming(changed, ORDERS["qemu-full"], HOST).lost == (Piece(PieceKind.COMPONENT, 18),)


def test_what_the_first_order_did_not_save_cannot_be_restored():
    guest = saved_guest(HOST, "qemu-full", Use.TILES)
    parts = {name: line for name, line in guest.parts.items() if name != Part.XSAVE}
    with pytest.raises(UsageError, match="restores 'xsave', which order 'qemu-full' did not save"):
        resuming(replace(guest, parts=parts), ORDERS["crosvm"], HOST)


def test_a_word_of_an_order_that_a_file_cannot_have_is_refused():
    guest = saved_guest(HOST, "qemu-full", Use.TILES)
    with pytest.raises(UsageError, match="the order has 'fpu'"):
        resuming(guest, ORDERS["cloud-hypervisor"], HOST)


def test_registers_outside_the_payload_are_refused():
    guest = saved_guest(HOST, "qemu-full", Use.TILES)
    changed = replace(guest, parts={**guest.parts, Part.REGS: pack(bytes(144))})
    with pytest.raises(NotTaken, match="RIP is not in the guest payload"):
        resuming(changed, ORDERS["qemu-full"], HOST)
