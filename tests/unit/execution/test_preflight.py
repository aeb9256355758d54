from __future__ import annotations

from dataclasses import replace

import pytest

from kvmprobe.errors import Unavailable, WorkerError
from kvmprobe.execution.driver import Driver, Timing
from kvmprobe.execution.preflight import Preflight, classes, profile_of, unmet
from kvmprobe.execution.probing import examine
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.need import Need
from tests.support.fake_link import FakePlace, facts_of
from tests.support.hosts import AMX_HOST, AVX512_HOST, PROFILES, cet_host, with_behaviours

B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
B4 = Behaviour.XTILE_CFG_ADVERTISED_ALONE
O2 = Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV
C8 = Behaviour.SET_XSAVE_LIMITED_BY_CPUID
APX = Behaviour.KNOWS_APX
STANDARD = Behaviour.STANDARD_FORMAT
IGNORED, XSS = Behaviour.UNSUPPORTED_MSRS_IGNORED, Behaviour.XSS_FOLLOWS_CPUID


def examined(host, facts=None):
    return examine(Driver(FakePlace(host, facts=facts).open(), Timing()))


@pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)
def test_the_profile_follows_from_the_facts(host):
    assert profile_of(facts_of(host)) == host


def test_supervisor_components_have_no_place_in_an_image():
    facts = facts_of(AMX_HOST)
    facts["cpu"]["components"]["11"] = {"offset": 0, "size": 16, "supervisor": 1}
    assert profile_of(facts).layout == AMX_HOST.layout


def test_components_that_the_kernel_has_not_enabled_have_no_place():
    facts = facts_of(AVX512_HOST)
    facts["cpu"]["components"]["9"] = {"offset": 2688, "size": 8, "supervisor": 0}
    assert profile_of(facts).layout == AVX512_HOST.layout


@pytest.mark.parametrize(
    "wrong",
    [
        lambda facts: facts["cpu"]["components"].pop("6"),
        lambda facts: facts["cpu"]["components"]["18"].update(size=1 << 40),
        lambda facts: facts["cpu"]["components"]["2"].update(size=257),
        lambda facts: facts["cpu"].update(mxcsr_mask=1 << 40),
        lambda facts: facts["kvm"].update(xcomp_guest_supp="7"),
    ],
    ids=[
        "a component without a place",
        "a component of a terabyte",
        "a byte more than YMM has",
        "a mask of 41 bits",
        "a text for a number",
    ],
)
def test_facts_that_no_host_has_are_the_workers(wrong):
    facts = facts_of(AMX_HOST)
    wrong(facts)
    with pytest.raises(WorkerError, match="the worker's facts are not such"):
        examined(AMX_HOST, facts)


def test_without_the_device_attribute_supported_cpuid_gives_kvms_xcr0():
    facts = facts_of(AMX_HOST)
    del facts["kvm"]["xcomp_guest_supp"]
    assert profile_of(facts).kvm_xcr0 == 0x602E7


def test_kvm_before_xsave2_is_unavailable():
    # known-bugs: "KVM_CAP_XSAVE2: 0 before 5.17"
    facts = facts_of(AMX_HOST)
    facts["kvm"]["cap_xsave2"] = 0
    with pytest.raises(Unavailable, match=r"6.12.95: KVM before Linux 5\.17") as caught:
        profile_of(facts)
    assert caught.value.code == "old_kvm"


def test_a_host_without_xsave_is_unavailable():
    facts = facts_of(AMX_HOST)
    facts["cpu"]["xcr0"] = 0
    with pytest.raises(Unavailable) as caught:
        profile_of(facts)
    assert caught.value.code == "no_xsave"


def test_a_kernel_without_xcomp_requests_is_unavailable():
    facts = facts_of(AMX_HOST)
    facts["xcomp"]["GET_XCOMP_SUPP"] = -22
    with pytest.raises(Unavailable, match=r"ARCH_GET_XCOMP_SUPP\) returned -EINVAL"):
        profile_of(facts)


@pytest.mark.parametrize(
    "behaviours",
    [
        (),
        (B1,),
        (O1,),
        (B4,),
        (B1, O1),
        (APX,),
        (B1, O1, B4, APX),
        (O2,),
        (C8,),
        (O2, C8),
        (STANDARD,),
    ],
    ids=lambda found: "+".join(b.name for b in found) or "none",
)
def test_probing_finds_exactly_the_kernels_behaviours(behaviours):
    found = examined(with_behaviours(AMX_HOST, *behaviours))
    assert found.profile.behaviours == frozenset(behaviours)


@pytest.mark.parametrize(
    "behaviours", [(IGNORED,), (XSS,), (IGNORED, XSS)], ids=["ignored", "xss", "both"]
)
def test_probing_tells_ignored_msrs_from_those_that_follow_cpuid(behaviours):
    assert examined(cet_host(*behaviours)).profile.behaviours == frozenset(behaviours)


def test_probing_leaves_nothing_undetermined_on_an_amx_host():
    assert examined(AMX_HOST).undetermined == frozenset()


def test_only_defects_are_suspected():
    assert examined(with_behaviours(AMX_HOST, B1, APX)).suspected == {B1}


def test_probes_with_unexpected_results_leave_their_defects_suspected():
    # The kernel refuses permission although the facts promise tiles.
    refusing = replace(AMX_HOST, user_features=0x2E7)
    place = FakePlace(refusing, facts=facts_of(AMX_HOST), promised=AMX_HOST)
    assert examine(Driver(place.open(), Timing())).suspected >= {B1, O1}


def test_a_host_without_amx_has_no_suspected_defects():
    assert examined(AVX512_HOST).suspected == frozenset()


def test_amx_scenarios_are_testable_on_an_amx_host():
    assert {c.testable for c in classes(examined(AMX_HOST))} == {True}


def test_amx_scenarios_are_not_testable_without_amx_and_have_a_reason():
    found = next(c for c in classes(examined(AVX512_HOST)) if "XTILE" in c.name)
    assert (found.testable, found.code) == (False, "no_amx_kvm")


def test_guest_code_that_does_not_run_has_the_observed_reason():
    facts = facts_of(AVX512_HOST)
    facts["kvm"]["guest_code"]["long_mode"] = "KVM_EXIT_INTERNAL_ERROR, suberror 1"
    found = classes(examined(AVX512_HOST, facts))[-1]
    assert (found.testable, found.reason) == (False, "tried: KVM_EXIT_INTERNAL_ERROR, suberror 1")


@pytest.mark.parametrize(
    ("host", "offered"),
    [
        (AMX_HOST, "IA32_XSS 0"),
        (cet_host(), "SHSTK, IA32_XSS 0x1800 (CET_USER|CET_KERNEL)"),
        (cet_host(shstk=False, ibt=True), "IBT, IA32_XSS 0x1800 (CET_USER|CET_KERNEL)"),
    ],
    ids=["none", "shadow stacks alone", "IBT alone"],
)
def test_a_kvm_without_all_of_cet_has_a_reason(host, offered):
    code, reason = unmet(Preflight(facts_of(AMX_HOST), host, frozenset()))[Need.CET]
    assert (code, reason) == ("no_cet_kvm", f"KVM_GET_SUPPORTED_CPUID of CET: {offered}")


def test_a_kvm_with_all_of_cet_meets_the_need():
    assert Need.CET not in unmet(Preflight(facts_of(AMX_HOST), cet_host(ibt=True), frozenset()))
