"""Recordings of real programs, in the emulated AMX host with 7.3.4.

QEMU 7.2.22 of Debian: ``qemu-system-x86_64 -accel kvm -cpu host,arch-capabilities=off -m 64 -S``
was saved to a file by ``migrate``, and ``-incoming`` read it; the guest then ran.

The kernel's own selftests, amx_test and state_test of 7.3.4 (tools/testing/selftests/kvm/x86): each
saves a guest, with live tiles or in VMX operation, and goes on in a new VM.
``scripts/record_selftests`` records them.
"""

from dataclasses import replace

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.recordings.lines import Call, ObjectKind, Permission
from kvmprobe.vmm.fatal import panics
from kvmprobe.vmm.review import Kernel
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.image import xstate_bv_of
from tests.support.recordings import of_program
from tests.support.replays import entries_of
from tests.support.reviews import reviewed

SAVE, RESTORE = "qemu-7.2-save-7.3.4", "qemu-7.2-restore-7.3.4"
AMX_TEST, STATE_TEST = "kselftest-amx-7.3.4", "kselftest-state-7.3.4"
TILES = XFeature.XTILE_CFG.bit | XFeature.XTILE_DATA.bit
# tools/testing/selftests/kvm/lib/x86/processor.c: vcpu_load_state, after KVM_SET_CPUID2.
LOADS = ["CPUID2", "SREGS", "MSRS", "XCRS", "XSAVE", "VCPU_EVENTS", "MP_STATE", "DEBUGREGS"]
LOADS += ["REGS", "NESTED_STATE"]


@pytest.fixture
def unpacked(tmp_path):
    return lambda name: of_program(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "judged"), [(SAVE, 23), (RESTORE, 28), (AMX_TEST, 54), (STATE_TEST, 146)]
)
def test_nothing_is_accused_and_the_model_agrees_with_the_kernel(name, judged, unpacked):
    review = reviewed(unpacked(name))
    assert (review.findings, review.judged) == ([], judged)


@pytest.mark.parametrize("name", [RESTORE, AMX_TEST, STATE_TEST])
def test_nor_is_it_on_a_kernel_with_every_defect_that_panics(name, unpacked):
    path = unpacked(name)
    host, _ = entries_of(path)
    broken = replace(host, behaviours=host.behaviours | frozenset(panics()))
    assert reviewed(path, broken, Kernel.OTHER).findings == []


@pytest.mark.parametrize("name", [AMX_TEST, STATE_TEST])
def test_the_kernels_selftests_are_safe_on_old_and_new_kernels(name, unpacked):
    kernels = [word for kernel in ("7.3.4", "6.12.95") for word in ("--kernel", kernel)]
    assert main(["judge", *kernels, str(unpacked(name))]) == ExitCode.OK


def test_the_kernels_selftests_restore_live_tiles_after_xcr0_and_xfd(unpacked):
    images, orders = [], {}
    for entry in entries_of(unpacked(AMX_TEST))[1]:
        if isinstance(entry.line, Call) and entry.spec and "_SET_" in entry.spec.name:
            if entry.target.kind is ObjectKind.VCPU:
                names = orders.setdefault(entry.target.id, [])
                names.append(entry.spec.name.removeprefix("KVM_SET_"))
            if entry.spec is ioctls.SET_XSAVE:
                images.append(entry.sent)
    assert any(xstate_bv_of(image) & TILES == TILES for image in images)
    # The first vCPU is set up; each other one goes on with the state of the one before.
    restored = [names[: len(LOADS)] for vcpu, names in orders.items() if vcpu != "vcpu0"]
    assert restored == [LOADS] * 10


def test_qemu_asks_for_permission_and_restores_three_times(unpacked):
    _, entries = entries_of(unpacked(RESTORE))
    assert any(isinstance(entry.line, Permission) for entry in entries)
    sizes = [len(entry.sent) for entry in entries if entry.spec == ioctls.SET_XSAVE]
    assert sizes == [11008] * 4  # and once more as the guest is continued
