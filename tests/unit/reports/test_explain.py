"""The model's view of one scenario as text; expectations from the kernel contract."""

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.explain import explain
from kvmprobe.scenarios import catalog
from tests.support.hosts import AMX_HOST, with_behaviours

VARIANT = "perm-granted.xfd-armed.bv-tiles"


def explained(scenario_id, host=AMX_HOST):
    (scenario,) = [s for s in catalog.scenarios(host) if s.id == scenario_id]
    return explain(scenario, host)


def after_xfd(order, *defects):
    return explained(f"restore.{order}.{VARIANT}", with_behaviours(AMX_HOST, *defects))


def test_each_step_shows_what_is_expected_and_the_rule():
    lines = explained(f"restore.cpuid-msrs-xcrs-xsave.{VARIANT}")
    step = lines.index("step 1: ARCH_REQ_XCOMP_GUEST_PERM(18) -> returns 0")
    assert lines[step + 1].startswith("    rule: ARCH_REQ_XCOMP_GUEST_PERM")


def test_a_permission_is_shown_by_its_components():
    # contract §1: granting 18 adds it, and 17 is not dynamic
    lines = explained(f"restore.cpuid-msrs-xcrs-xsave.{VARIANT}")
    (line,) = [line for line in lines if line.startswith("    guest_perm: ")]
    before, after = line.split(" -> ")
    assert "XTILE_DATA" not in before
    assert after == before.removeprefix("    guest_perm: ").replace("0x202e7", "0x602e7").replace(
        ")", "|XTILE_DATA)"
    )


def test_only_what_changed_is_shown():
    lines = explained(f"restore.cpuid-msrs-xcrs-xsave.{VARIANT}")
    step = next(n for n, line in enumerate(lines) if "IA32_XFD=" in line)
    # KVM_SET_MSRS(XFD) changes nothing else (INV-38), but that the guest's access is direct now.
    assert lines[step + 2] == "    xfd: 0 -> 0x40000 (XTILE_DATA)"
    assert lines[step + 3] == "    xfd_passthrough: False -> True"
    assert lines[step + 4].startswith("  read:")


def test_a_refusal_is_told_by_its_errno():
    # INV-23: before KVM_SET_CPUID2 only XCR0=1 is legal.
    lines = explained("restore.xcrs-msrs-xsave.perm-none.xfd-zero.bv-zero")
    assert any("KVM_SET_XCRS" in line and "-EINVAL (22)" in line for line in lines)


@pytest.mark.parametrize(
    ("order", "defect"), [("cpuid-xsave-msrs-xcrs", "O1"), ("cpuid-msrs-xsave-xcrs", "B1")]
)
def test_a_hazard_names_the_defect_that_makes_it_fatal(order, defect):
    assert explained(f"restore.{order}.{VARIANT}")[-1].startswith(f"hazard: with {defect}, step 11")


def test_a_harmless_scenario_says_so():
    last = explained("restore.cpuid-msrs-xcrs-xsave.perm-none.xfd-zero.bv-legacy")[-1]
    assert last.startswith("hazards: none")


def test_a_kernel_with_the_defect_ends_with_the_hosts_death():
    lines = after_xfd("cpuid-xsave-msrs-xcrs", Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    assert "KVM_RUN -> the host dies" in "\n".join(lines[-2:])


def test_the_guests_exit_has_its_name():
    lines = explained("restore.cpuid-msrs-xcrs-xsave.perm-none.xfd-zero.bv-legacy")
    assert "exit_reason=KVM_EXIT_HLT" in "\n".join(lines)


def of_each_family():
    first = {}
    for scenario in catalog.scenarios(AMX_HOST):
        first.setdefault((scenario.family, scenario.row), scenario)
    return list(first.values())


def test_every_kind_of_scenario_can_be_explained():
    beginnings = {s.id: explain(s, AMX_HOST)[:2] for s in of_each_family()}
    assert [
        name
        for name, (first, second) in beginnings.items()
        if first != name or not second.startswith("step 0:")
    ] == []


def test_another_process_is_told_by_its_name():
    # contract §1: fork copies the guest permission and the lock.
    (scenario,) = [
        s for s in catalog.scenarios(AMX_HOST) if s.id == "permission.lock.closed-forked"
    ]
    lines = explain(scenario, AMX_HOST)
    assert any("'s guest_perm is " in line and line.endswith(", frozen") for line in lines)
