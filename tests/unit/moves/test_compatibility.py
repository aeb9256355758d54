"""Moves between real hosts, as the model has them."""

from dataclasses import replace

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.control import Cr4
from kvmprobe.moves.causes import Cause
from kvmprobe.moves.compatibility import Cpuid, compatibility
from kvmprobe.moves.guests import Use
from kvmprobe.moves.restoring import Fatal, Into, Lost, Refused
from kvmprobe.scenarios.presets import presets
from kvmprobe.vmm.findings import Piece, PieceKind
from tests.support.probed import profile_of

EINVAL, EPERM = 22, 1
XFD, XSS = (Piece(PieceKind.MSR, index) for index in (0x1C4, 0xDA0))
ORDERS = {preset.name: preset for preset in presets()}


def component(nr):
    return Piece(PieceKind.COMPONENT, nr)


def moved(source, target, order, use, *, into=Into.NEW, cpuid=Cpuid.SOURCE):
    """The findings of one move, each with its cause and the defects that it needs."""
    hosts = (profile_of(one) if isinstance(one, str) else one for one in (source, target))
    moves = compatibility(*hosts, [ORDERS[order]], into).moves
    [found] = [m.findings for m in moves if (m.use, m.cpuid) == (use, cpuid)]
    return [(one.finding, one.cause, one.defects) for one in found]


@pytest.mark.parametrize("kernel", ["6.1.192", "6.12.95", "7.3.4"])
@pytest.mark.parametrize("use", [Use.TILES, Use.ARMED, Use.IN_NM])
@pytest.mark.parametrize("order", ["qemu-full", "crosvm", "dragonball", "kselftest"])
def test_a_guest_with_amx_goes_on_between_hosts_with_amx(kernel, use, order):
    assert moved(kernel, "7.3.4", order, use) == []


def test_a_list_of_msrs_without_xss_loses_it_where_the_guest_has_cet():
    # firecracker #5972: IA32_XSS was not in the list; KVM has it from 6.18 on.
    found = moved("7.3.4", "7.3.4", "firecracker", Use.CET)
    assert (Lost("", XSS), Cause.ORDER, ()) in found


def test_the_list_with_xss_keeps_it():
    lost = {finding.piece for finding, *_ in moved("7.3.4", "7.3.4", "firecracker-1.16.1", Use.CET)}
    assert XSS not in lost


def test_before_6_18_there_is_no_xss_to_lose():
    assert moved("6.12.95", "6.12.95", "firecracker", Use.TILES) == []


def test_a_list_of_msrs_without_xfd_loses_it():
    assert moved("6.12.95", "7.3.4", "firecracker", Use.ARMED) == [
        (Lost("", XFD), Cause.ORDER, ()),
    ]


def test_an_order_with_all_state_of_cet_keeps_it():
    assert moved("7.3.4", "7.3.4", "qemu-cet", Use.CET) == []


def test_a_kernel_without_cet_for_guests_refuses_cr4_cet():
    [(finding, cause, _)] = moved("7.3.4", "6.12.95", "qemu-cet", Use.CET)
    assert (finding, cause) == (Refused("KVM_SET_SREGS2", EINVAL, (), (Cr4.CET,)), Cause.TARGET)


@pytest.mark.parametrize("use", [Use.TILES, Use.ARMED])
def test_a_host_without_amx_refuses_the_cpuid_of_a_guest_with_amx(use):
    # arch/x86/kernel/fpu/core.c: fpu_enable_guest_xfd_features: EPERM without permission.
    refused = Refused("KVM_SET_CPUID2", EPERM, (component(18),))
    assert moved("7.3.4", "7.3.4-no-amx", "qemu-full", use) == [(refused, Cause.TARGET, ())]


def test_with_the_common_cpuid_it_goes_on():
    found = moved("7.3.4", "7.3.4-no-amx", "qemu-full", Use.NO_TILES, cpuid=Cpuid.SHARED)
    assert found == []


def narrower(host, xcr0):
    """The host with fewer components in KVM and the processor."""
    supported = host.supported.replaced(0xD, 0, eax=xcr0)
    return replace(host, kvm_xcr0=xcr0, user_features=xcr0, supported=supported)


def test_an_xcr0_wider_than_the_targets_is_refused():
    target = narrower(profile_of("7.3.4-no-amx"), 0x207)
    found = moved("7.3.4-no-amx", target, "crosvm", Use.NO_TILES)
    refused = Refused("KVM_SET_XCRS", EINVAL, tuple(map(component, (5, 6, 7))))
    assert found == [(refused, Cause.TARGET, ())]


def test_where_the_image_comes_first_it_is_refused():
    target = narrower(profile_of("7.3.4-no-amx"), 0x207)
    found = moved("7.3.4-no-amx", target, "qemu-full", Use.NO_TILES)
    refused = Refused("KVM_SET_XSAVE", EINVAL, tuple(map(component, (5, 6, 7))))
    assert found == [(refused, Cause.TARGET, ())]


def test_components_in_another_place_come_out_different():
    # OPMASK at 832 on an AMD, at 1088 on an Intel with room for MPX (CPUID 0xD.5:EBX).
    found = moved("6.18.44-pvm", "7.3.4", "qemu-full", Use.NO_TILES)
    assert found == [(Lost("KVM_SET_XSAVE", component(nr)), Cause.TARGET, ()) for nr in (5, 6, 7)]


def with_defect(name, behaviour):
    host = profile_of(name)
    return replace(host, behaviours=host.behaviours | {behaviour})


def test_an_image_with_more_than_the_guests_cpuid_is_refused_before_c8_was_fixed():
    # Linux commit 8647c52e9504.  The order gives an image that has PKRU to a vCPU without CPUID.
    old = with_defect("7.3.4-no-amx", Behaviour.SET_XSAVE_LIMITED_BY_CPUID)
    [(finding, cause, defects)] = moved("7.3.4-no-amx", old, "kselftest-xsave-only", Use.NO_TILES)
    assert (finding.call, finding.errno) == ("KVM_SET_XSAVE", EINVAL)
    assert component(9) in finding.pieces
    assert (cause, defects) == (Cause.DEFECT, ("C8",))


def test_after_c8_was_fixed_the_image_is_taken_and_the_guest_lacks_pkru():
    lost = moved("7.3.4-no-amx", "7.3.4-no-amx", "kselftest-xsave-only", Use.NO_TILES)
    assert (Lost("KVM_SET_XSAVE", component(9)), Cause.ORDER, ()) in lost


def test_a_used_vcpu_with_xfd_armed_drops_tiles_since_b1_was_fixed():
    # Linux commit b45f72177594: KVM_SET_XSAVE clears XSTATE_BV[i] where XFD[i]=1.
    used = {"into": Into.USED, "order": "qemu-full", "use": Use.TILES}
    assert moved("6.12.43", "6.12.43", **used) == []
    lost = Lost("KVM_SET_XSAVE", component(18))
    assert moved("6.12.43", "6.12.95", **used) == [(lost, Cause.ABI, ())]


def test_arming_xfd_in_a_used_vcpu_with_tiles_takes_the_host_down_with_o1():
    # From 6.18 on access to CET's MSRs loads the guest's FPU; KVM lists them after IA32_XFD.
    found = moved("7.3.4", "7.3.4", "kselftest", Use.ARMED, into=Into.USED)
    assert found == [(Fatal("KVM_SET_MSRS"), Cause.DEFECT, ("O1",))]


def test_set_fpu_is_lost_with_o2():
    found = moved("7.3.4", "7.3.4", "kvmtool", Use.TILES)
    lost = [(Lost("KVM_SET_FPU", component(nr)), Cause.DEFECT, ("O2",)) for nr in (0, 1)]
    assert [one for one in found if one[1] is Cause.DEFECT] == lost


def test_orders_are_moved_with_cet_only_if_their_states_have_it():
    moves = compatibility(profile_of("7.3.4"), profile_of("7.3.4"), presets(), Into.NEW).moves
    with_cet = {move.order for move in moves if move.use is Use.CET}
    assert with_cet == {p.name for p in presets() if "cet" in p.states}


def test_each_side_of_a_known_defect_is_named():
    result = compatibility(profile_of("6.12.43"), profile_of("6.12.95"), presets(), Into.NEW)
    found = {defect.id: on for defect, *on in result.defects}
    assert (found["B1"], found["O1"]) == ([True, False], [True, True])
