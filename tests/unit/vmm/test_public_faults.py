"""Faults that VMMs had in public: each is shown on calls that have it, and not on those without.

Unless a test says otherwise, the calls and the kernel's results are those of a recorded kernel.
"""

from __future__ import annotations

import struct

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.tables import MSRS
from kvmprobe.vmm.findings import (
    Asked,
    ErrorIgnored,
    Expected,
    HostDies,
    ImageCut,
    Lost,
    LostBy,
    NotRestored,
    PermissionMissing,
    Piece,
    PieceKind,
    Reach,
)
from kvmprobe.vmm.pieces import TSC_DEADLINE
from kvmprobe.xstate.features import XFeature
from tests.support.recorded_scenarios import recorded
from tests.support.recordings import call, recording
from tests.support.reviews import of_kind, reviewed

XSS, XFD = (Piece(PieceKind.MSR, index) for index in (Msr.IA32_XSS, Msr.IA32_XFD))
# Byte 0x320 of the local APIC: the timer's entry, in TSC-deadline mode.
DEADLINE_LAPIC = bytes(0x320) + struct.pack("<I", 0b10 << 17) + bytes(0x400 - 0x324)
DEADLINE = MSRS.pack([(TSC_DEADLINE.number, 0x1234)])


def never_restored(kernel, scenario, tmp_path):
    found = of_kind(NotRestored, reviewed(recorded(kernel, scenario, tmp_path / "r")))
    assert {one.why for one in found} <= {Expected.OFFERED}
    return {piece for one in found for piece in one.pieces}


@pytest.mark.parametrize(("order", "lost"), [("firecracker", True), ("firecracker-1.16.1", False)])
def test_xss_is_missing_in_firecrackers_list_before_1_16_1(order, lost, tmp_path):
    missing = never_restored("7.3.4", f"vmm.{order}.cet", tmp_path)
    assert (XSS in missing) is lost


@pytest.mark.parametrize(("order", "lost"), [("firecracker", True), ("qemu-full", False)])
def test_xfd_is_missing_in_a_list(order, lost, tmp_path):
    assert (XFD in never_restored("6.12.95", f"vmm.{order}.tiles", tmp_path)) is lost


def test_a_guest_without_amx_needs_no_xfd(tmp_path):
    assert never_restored("6.12.95", "vmm.firecracker.no-tiles", tmp_path) == set()


def test_cloud_hypervisor_without_the_permission_call(tmp_path):
    path = recorded("7.3.4", "cpuid.set-full.perm-none", tmp_path / "r")
    assert {one.asked for one in of_kind(PermissionMissing, reviewed(path))} == {Asked.NEVER}


def test_the_permission_call_after_the_first_vcpu(tmp_path):
    path = recorded("7.3.4", "permission.order.c-p-u", tmp_path / "r")
    assert {one.asked for one in of_kind(PermissionMissing, reviewed(path))} == {Asked.TOO_LATE}


def test_with_permission_nothing_is_missing(tmp_path):
    path = recorded("7.3.4", "cpuid.set-full.perm-granted", tmp_path / "r")
    assert of_kind(PermissionMissing, reviewed(path)) == []


@pytest.mark.parametrize(("guest", "cut"), [("tiles", True), ("legacy", False)])
def test_an_image_of_4_kib_is_too_short_for_tiles(guest, cut, tmp_path):
    path = recorded("7.3.4", f"xsave.old-get.{guest}", tmp_path / "r")
    sizes = {one.size for one in of_kind(ImageCut, reviewed(path))}
    assert sizes == ({11008} if cut else set())


@pytest.mark.parametrize("before", [True, False])
def test_a_tsc_deadline_before_the_lapic_is_lost(before, tmp_path):
    # The results are what KVM returns: it ignores the deadline and says nothing
    # (arch/x86/kvm/lapic.c: kvm_set_lapic_tscdeadline_msr).
    calls = [(ioctls.SET_MSRS, DEADLINE, 1), (ioctls.SET_LAPIC, DEADLINE_LAPIC, 0)]
    path = tmp_path / "r"
    with recording(path) as writer:
        image = writer.payload(bytes(4096))
        writer.write(call(1, sent=image))
        for number, (spec, content, result) in enumerate(calls if before else calls[::-1], 1):
            sent = writer.payload(content)
            writer.write(call(2 * number + 1, spec.number, sent=sent, result=result))
    found = of_kind(Lost, reviewed(path))
    assert [(one.pieces, one.how) for one in found] == (
        [((TSC_DEADLINE,), LostBy.NOT_TAKEN)] if before else []
    )


@pytest.mark.parametrize("before", [True, False])
def test_a_tsc_deadline_before_the_tsc_is_computed_with_another(before, tmp_path):
    # firecracker: pull request 4666
    entries, path = [(TSC_DEADLINE.number, 0x1234), (0x10, 0x1000)], tmp_path / "r"
    with recording(path) as writer:
        writer.write(call(1, sent=writer.payload(bytes(4096))))
        sent = writer.payload(MSRS.pack(entries if before else entries[::-1]))
        writer.write(call(3, ioctls.SET_MSRS.number, sent=sent, result=2))
    found = [(one.pieces, one.how) for one in of_kind(Lost, reviewed(path))]
    assert found == ([((TSC_DEADLINE,), LostBy.TOO_EARLY)] if before else [])


def test_an_ignored_error_of_set_xsave(tmp_path):
    scenario = "restore.msrs-xcrs-xsave-cpuid.perm-granted.xfd-zero.bv-tiles"
    found = of_kind(ErrorIgnored, reviewed(recorded("7.3.4", scenario, tmp_path / "r")))
    assert ("KVM_SET_XSAVE", -22) in {(one.failed.call, one.result) for one in found}


def test_no_error_is_ignored_in_the_usual_order(tmp_path):
    path = recorded("7.3.4", "vmm.kselftest.tiles", tmp_path / "r")
    assert of_kind(ErrorIgnored, reviewed(path)) == []


def test_cpuid_after_xsave_loses_the_state(tmp_path):
    scenario = "restore.msrs-xcrs-xsave-cpuid.perm-granted.xfd-zero.bv-legacy"
    [found] = of_kind(Lost, reviewed(recorded("7.3.4", scenario, tmp_path / "r")))
    assert (found.restored.call, found.by.call) == ("KVM_SET_XSAVE", "KVM_SET_CPUID2")
    assert {piece.number for piece in found.pieces} == {XFeature.FP, XFeature.SSE}


def test_xsave_before_xfd_takes_the_host_down(tmp_path):
    scenario = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"
    [found] = of_kind(HostDies, reviewed(recorded("7.3.4", scenario, tmp_path / "r")))
    assert (found.defects, found.reach) == (("O1",), Reach.THIS_KERNEL)


@pytest.mark.parametrize(
    ("kernel", "reach"), [("6.12.43", Reach.THIS_KERNEL), ("6.12.95", Reach.OTHER_KERNELS)]
)
def test_xfd_before_xsave_takes_old_hosts_down(kernel, reach, tmp_path):
    scenario = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"
    [found] = of_kind(HostDies, reviewed(recorded(kernel, scenario, tmp_path / "r")))
    assert (found.defects, found.reach) == (("B1",), reach)


@pytest.mark.parametrize("source", ["no-tiles", "tiles"])
@pytest.mark.parametrize("order", ["kselftest", "qemu-full"])
@pytest.mark.parametrize("kernel", ["6.1.192", "6.12.95", "7.3.4"])
def test_correct_orders_have_no_error(kernel, order, source, tmp_path):
    review = reviewed(recorded(kernel, f"vmm.{order}.{source}", tmp_path / "r"))
    assert [one for one in review.findings if one.level.value != "note"] == []
