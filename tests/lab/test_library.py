"""The library on a host whose KVM can give guests AMX."""

from pathlib import Path

import pytest

from tests.support.guest_programs import run_program

pytestmark = pytest.mark.lab
PROGRAM = Path(__file__).parent / "programs" / "tiles_by_library.py"


@pytest.fixture(scope="module")
def lines():
    # 7.3.4 has the open defect: XFD written after the image keeps XSTATE_BV[18].
    return run_program(PROGRAM)


def test_the_permission_is_granted(lines):
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
