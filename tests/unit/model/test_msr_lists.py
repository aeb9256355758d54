"""kernel contract sections 5 and 5.2: lists of MSRs, XSS, MSRs in XSTATE (INV-25, INV-26)."""

import errno
from dataclasses import replace

import pytest

from kvmprobe.model import msr
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.msr import FpuLoad
from kvmprobe.model.outcome import Done, Failed, HostDies
from kvmprobe.model.uabi import get_xsave2, set_xsave
from tests.support.hosts import (
    AMX_HOST,
    AVX512_HOST,
    B18,
    TILES,
    VCPU,
    amx_vcpu,
    cet_host,
    image,
    machine_with_vcpu,
    with_behaviours,
    with_fields,
)

XFD, XFD_ERR, XSS, PAT, CS, U_CET, PL3_SSP = 0x1C4, 0x1C5, 0xDA0, 0x277, 0x174, 0x6A0, 0x6A7
NOWHERE = 0x4000_4000
# SDM vol.3 §13.12.4 "Programming the PAT": 6, 4, 7, 0 and the same again.
PAT_AT_RESET = 0x0007040600070406
CET = 0x1800
B1, O1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED, Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
FOLLOWS = Behaviour.XSS_FOLLOWS_CPUID


def cet_vcpu(*behaviours, cpuid=True):
    host = cet_host(*behaviours)
    machine = machine_with_vcpu(host, granted=True)
    if not cpuid:
        return machine
    table = GuestCpuid.of(host.supported)
    everything = {"user_xfeatures": 0x602E7, "guest_xcr0": 0x602E7, "uabi_size": 11008}
    return with_fields(machine, cpuid=table, guest_xss=CET, **everything)


def after(machine, *entries):
    return msr.set_msrs(machine, VCPU, entries).machine.vcpu(VCPU)


def count(machine, *entries):
    return msr.set_msrs(machine, VCPU, entries).outcome.value


def test_a_whole_list_is_processed():
    vcpu = after(amx_vcpu(), (XFD, B18), (PAT, 0), (XFD_ERR, B18))
    assert (vcpu.xfd, vcpu.xfd_err, vcpu.msrs[PAT]) == (B18, B18, 0)


def test_an_empty_list_is_processed():
    assert count(amx_vcpu()) == 0


@pytest.mark.parametrize("refused", [(XFD, 1), (XFD_ERR, 1 << 17), (NOWHERE, 0), (XSS, 1)])
def test_the_entry_before_a_refused_one_is_applied_and_the_one_after_it_is_not(refused):
    # INV-26
    entries = ((CS, 1), refused, (CS, 2))
    assert (count(amx_vcpu(), *entries), after(amx_vcpu(), *entries).msrs) == (1, {CS: 1})


@pytest.mark.parametrize(("length", "expected"), [(255, Done(255)), (256, Failed(errno.E2BIG))])
def test_256_entries_are_too_many(length, expected):
    # contract 5: nmsrs >= 256
    assert msr.set_msrs(amx_vcpu(), VCPU, ((CS, 0),) * length).outcome == expected


@pytest.mark.parametrize("value", [2, 3, 0xFF, 2 << 56, 0xFFFF_FFFF_FFFF_FFFF])
def test_a_pat_with_a_reserved_memory_type_is_legal_where_the_vendor_module_takes_any(value):
    # SDM vol.3 table 12-10; kvm_pvm accepts what KVM's core refuses
    taken = with_behaviours(AVX512_HOST, Behaviour.VENDOR_OWNS_PAT)
    assert count(machine_with_vcpu(AVX512_HOST), (PAT, value)) == 0
    vcpu = after(machine_with_vcpu(taken), (PAT, value))
    assert vcpu.msrs == {PAT: value}


def test_256_entries_are_too_many_to_read():
    assert msr.get_msrs(amx_vcpu(), VCPU, (CS,) * 256).outcome == Failed(errno.E2BIG)


def test_255_entries_for_one_msr_are_255_entries():
    assert msr.get_msrs(amx_vcpu(), VCPU, (CS,) * 255).outcome.value == 255


def test_reading_stops_at_an_msr_that_does_not_exist():
    outcome = msr.get_msrs(amx_vcpu(), VCPU, (PAT, NOWHERE, XFD)).outcome
    assert outcome == Done(1, {"PAT": PAT_AT_RESET})


def test_the_later_of_two_entries_wins():
    assert after(amx_vcpu(), (CS, 1), (CS, 2)).msrs[CS] == 2


def test_arming_xfd_in_a_list_clears_the_components_bit():
    # INV-29
    loaded = set_xsave(amx_vcpu(), VCPU, image(TILES)).machine
    assert after(loaded, (CS, 1), (XFD, B18)).fpstate.xstate_bv == 0x20000


@pytest.mark.parametrize("value", [0, B18])
def test_only_another_xfd_than_zero_opens_the_msr_to_the_guest(value):
    # contract 5.1: "A host-initiated non-zero XFD write also sets xfd_pt"
    assert after(amx_vcpu(), (XFD, value)).xfd_passthrough == bool(value)


def test_disarming_xfd_keeps_the_msr_open():
    assert after(amx_vcpu(), (XFD, B18), (XFD, 0)).xfd_passthrough


@pytest.mark.parametrize("value", [1, 0x100, 0x800, CET, 1 << 63])
def test_without_cet_another_xss_than_zero_is_refused(value):
    # contract 5.2; 6.1 and 6.12: KXSS=0
    assert count(amx_vcpu(), (XSS, value)) == 0


@pytest.mark.parametrize("host", [AMX_HOST, AVX512_HOST], ids=["amx", "avx512"])
def test_xss_zero_is_processed_before_cpuid(host):
    assert count(machine_with_vcpu(host), (XSS, 0)) == 1


def test_xss_zero_is_refused_where_it_follows_cpuid_and_is_not_listed():
    # live correction 10
    host = with_behaviours(AVX512_HOST, FOLLOWS)
    assert count(machine_with_vcpu(host), (XSS, 0)) == 0


def test_xss_zero_is_processed_where_it_follows_cpuid_and_is_listed():
    # contract 5.2; 7.x: "ok only if XSS is advertised"
    assert count(cet_vcpu(FOLLOWS, cpuid=False), (XSS, 0)) == 1


@pytest.mark.parametrize(("value", "processed"), [(CET, 1), (0x800, 1), (0x100, 0), (0, 1)])
def test_xss_within_the_guests_cpuid_is_processed(value, processed):
    assert count(cet_vcpu(FOLLOWS), (XSS, value)) == processed


def test_another_xss_than_zero_before_cpuid_is_refused():
    # contract 9, S;U on 7.x
    assert count(cet_vcpu(FOLLOWS, cpuid=False), (XSS, CET)) == 0


def test_the_last_accepted_xss_is_read_back():
    machine = msr.set_msrs(cet_vcpu(FOLLOWS), VCPU, [(XSS, CET), (XSS, 1)]).machine
    assert msr.get_msrs(machine, VCPU, [XSS]).outcome == Done(1, {"XSS": CET})


def test_xss_changes_no_other_register():
    # INV-38
    before = cet_vcpu(FOLLOWS).vcpu(VCPU)
    assert after(cet_vcpu(FOLLOWS), (XSS, CET))._replace(xss=0) == before


def test_after_a_sleep_xfd_clears_the_bit_even_with_o1():
    # live, INV-29 with NFL=1
    loaded = set_xsave(amx_vcpu(O1), VCPU, image(TILES)).machine
    assert (
        msr.set_xfd(loaded, VCPU, B18, FpuLoad.NEEDED).machine.vcpu(VCPU).fpstate.xstate_bv
        == 0x20000
    )


def test_after_a_sleep_xfd_keeps_the_bit_on_a_kernel_without_b1s_fix():
    # live, INV-29 with NFL=1 on 6.17: "F (unfixed)"
    loaded = set_xsave(amx_vcpu(O1, B1), VCPU, image(TILES)).machine
    assert (
        msr.set_xfd(loaded, VCPU, B18, FpuLoad.NEEDED).machine.vcpu(VCPU).fpstate.xstate_bv == TILES
    )


def test_after_a_sleep_an_illegal_xfd_is_still_refused():
    machine = amx_vcpu()
    step = msr.set_xfd(machine, VCPU, 1, FpuLoad.NEEDED)
    assert (step.outcome, step.machine) == (Done(0), machine)


def test_a_cet_msr_before_cpuid_reads_as_zero_and_loads_nothing():
    machine = cet_vcpu(cpuid=False)
    step = msr.get_msrs(machine, VCPU, [U_CET])
    assert (step.outcome, step.machine) == (Done(1, {"U_CET": 0}), machine)


def test_a_cet_msr_of_a_guest_that_has_it_loads_and_saves_the_fpu():
    # live correction 13
    assert msr.get_msrs(cet_vcpu(), VCPU, [U_CET]).machine.vcpu(VCPU).fpstate.saved


def test_a_cet_msr_is_unknown_to_a_kernel_without_cet():
    # live correction 13: "On 6.x it is '0 processed' and no cycle"
    machine = amx_vcpu()
    step = msr.get_msrs(machine, VCPU, [U_CET])
    assert (step.outcome, step.machine) == (Done(0, {}), machine)


@pytest.mark.parametrize("access", ["get", "set"])
def test_o1_and_a_cet_msr_kill_the_host(access):
    # known-bugs O1: "the same panic needs no KVM_RUN"
    loaded = set_xsave(cet_vcpu(O1), VCPU, image(TILES)).machine
    armed = msr.set_xfd(loaded, VCPU, B18).machine
    step = (
        msr.get_msrs(armed, VCPU, [U_CET])
        if access == "get"
        else msr.set_msrs(armed, VCPU, [(U_CET, 0)])
    )
    assert isinstance(step.outcome, HostDies)


def test_saving_every_listed_msr_kills_the_host_with_o1_too():
    # live correction 13: "blanket 'save every MSR of the index list' loops"
    loaded = set_xsave(cet_vcpu(O1), VCPU, image(TILES)).machine
    armed = msr.set_xfd(loaded, VCPU, B18).machine
    assert isinstance(msr.get_listed(armed, VCPU).outcome, HostDies)


def test_a_correct_kernel_survives_a_cet_msr_in_that_order():
    loaded = set_xsave(cet_vcpu(), VCPU, image(TILES)).machine
    armed = msr.set_xfd(loaded, VCPU, B18).machine
    assert msr.get_msrs(armed, VCPU, [U_CET]).outcome == Done(1, {"U_CET": 0})


@pytest.mark.parametrize(("index", "value"), [(U_CET, 1), (PL3_SSP, 0x1000)])
def test_a_cet_msr_is_read_back(index, value):
    machine = msr.set_msrs(cet_vcpu(), VCPU, [(index, value)]).machine
    assert next(iter(msr.get_msrs(machine, VCPU, [index]).outcome.fields.values())) == value


@pytest.mark.parametrize("value", [0x1002, 1 << 47])
def test_a_shadow_stack_pointer_is_aligned_and_canonical(value):
    # SDM vol.4 table 2-2: IA32_PL3_SSP
    assert count(cet_vcpu(), (PL3_SSP, value)) == 0


def test_all_listed_msrs_are_read():
    assert msr.get_listed(amx_vcpu(), VCPU).outcome == Done(len(AMX_HOST.msrs))


def test_restoring_all_listed_msrs_arms_xfd():
    loaded = set_xsave(amx_vcpu(), VCPU, image(TILES)).machine
    armed = msr.restore_listed(loaded, VCPU, B18).machine
    assert not get_xsave2(armed, VCPU).outcome.image.image[514] & 0b100


def test_restoring_all_listed_msrs_stops_at_an_illegal_xfd():
    # XFD, 1c4H, is the first that sapphire_rapids() lists.
    assert msr.restore_listed(amx_vcpu(), VCPU, 1).outcome == Done(0)


@pytest.mark.parametrize(("index", "kept", "later"), [(CS, 0, 0x1800), (PAT, 0, 6), (U_CET, 1, 3)])
def test_restoring_all_listed_msrs_brings_back_what_was_read(index, kept, later):
    # fuzz, seed 21, number 47: SYSENTER_CS as KVM_GET_MSRS returned it, not as it was set since
    fresh = cet_vcpu()
    host = replace(fresh.host, msrs=fresh.host.msrs | {CS, PAT})
    machine = msr.set_msrs(fresh._replace(host=host), VCPU, [(index, kept)]).machine
    machine = msr.get_listed(machine, VCPU).machine
    machine = msr.set_msrs(machine, VCPU, [(index, later)]).machine
    machine = msr.restore_listed(machine, VCPU, 0).machine
    assert machine.vcpu(VCPU).msrs[index] == kept


def test_restoring_all_listed_msrs_with_xfd_kills_the_host_with_o1():
    # IA32_XFD, 1c4H, is written before IA32_U_CET, 6a0H, loads the guest FPU.
    loaded = set_xsave(cet_vcpu(O1), VCPU, image(TILES)).machine
    read = msr.get_listed(loaded, VCPU).machine
    loaded_again = set_xsave(read, VCPU, image(TILES)).machine
    assert isinstance(msr.restore_listed(loaded_again, VCPU, B18).outcome, HostDies)
