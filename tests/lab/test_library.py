"""The library on a host whose KVM can give guests AMX: the guide, and tiles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import COMMAND

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]
GUIDE = Path(__file__).parent / "programs" / "library_guide.py"
# The files of all modules that the program loads; the guest has no other.
LOADED = """
import os, runpy, sys
runpy.run_path(sys.argv[0])
for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    state = getattr(spec, "loader_state", None)
    for path in (getattr(module, "__file__", None), getattr(state, "filename", None)):
        if path and os.path.isfile(path):
            print(path)
"""


def loaded_files(arguments):
    program = f"import sys; sys.argv[:] = {[str(GUIDE), *arguments]!r}{LOADED}"
    told = subprocess.run(
        [os.path.realpath(sys.executable), "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(set(told.stdout.splitlines()))


@pytest.fixture(scope="module")
def lines():
    # 7.3.4 has the open defect: XFD written after the image keeps XSTATE_BV[18].
    path = [entry for entry in sys.path if entry and Path(entry).is_dir()]
    arguments = [str(ROOT / "kvmprobe/bindings/GUIDE.md"), str(ROOT), *path]
    files = [*loaded_files(arguments), str(ROOT / "kvmprobe/bindings/GUIDE.md"), str(GUIDE)]
    options = [part for name in files for part in ("--file", name)]
    options += ["--file", os.path.dirname(sys.modules["encodings"].__file__)]  # noqa: PTH120
    command = ["lab", "exec", "--kernel", "7.3.4", "--memory", "600", *options]
    program = [os.path.realpath(sys.executable), "-S", "-B", str(GUIDE), *arguments]
    ended = subprocess.run(
        [*COMMAND, *command, "--", *program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def test_the_guide_shows_what_it_says(lines):
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
