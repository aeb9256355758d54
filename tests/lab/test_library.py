"""The library on a host whose KVM can give guests AMX: the guide, and tiles."""

from pathlib import Path

import pytest

from kvmprobe.native import PROGRAM
from tests.support.guest_programs import run_program

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]
GUIDE = Path(__file__).parent / "programs" / "library_guide.py"


@pytest.fixture(scope="module")
def lines():
    # 7.3.4 has the open defect: XFD written after the image keeps XSTATE_BV[18].
    text = ROOT / "kvmprobe/bindings/GUIDE.md"
    # The worker, with which the guide probes its host, executes the zygote.
    return run_program(GUIDE, text, files=[text, PROGRAM])


def test_the_guides_examples_return_what_they_show(lines):
    assert "guide: 0 failed, True" in lines, "\n".join(lines)


def test_the_guides_permission_is_granted(lines):
    assert "permission: 0x40000 (XTILE_DATA)" in lines


def test_the_image_has_room_for_tiles(lines):
    # Sapphire Rapids, CPUID 0xD.0:ECX
    assert "size: 11008" in lines


def test_tiles_that_were_set_are_there(lines):
    assert "image: 0x40000 (XTILE_DATA) 0" in lines


def test_the_hazard_is_told_before_a_load(lines):
    assert "hazard: 0x40000 (XTILE_DATA)" in lines


def test_nested_state_is_a_header_without_vmxon(lines):
    # arch/x86/include/uapi/asm/kvm.h: struct kvm_nested_state
    assert "nested: 128 True" in lines


def test_a_memory_fault_is_an_exit(lines):
    # virt/kvm/guest_memfd.c: kvm_gmem_get_pfn: no file, so -EFAULT and KVM_EXIT_MEMORY_FAULT
    assert "fault: MemoryFaultExit(address=4096, size=4096, flags=0, errno=14)" in lines
