"""Text of ``cpuid -r``."""

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.attached.cpuid_text import read_cpuid_text
from kvmprobe.xstate.cpuid import CpuidEntry

LEAF_1 = "   0x00000001 0x00: eax=0x00000011 ebx=0x00000022 ecx=0x00000033 edx=0x00000044"
XSTATE = "   0x0000000d 0x01: eax=0x0000000f ebx=0x00000000 ecx=0x00000000 edx=0xffffffff"


def read(*lines):
    return read_cpuid_text("\n".join(lines)).entries


def test_a_line_is_a_sub_leaf():
    assert read("CPU 0:", LEAF_1) == (CpuidEntry(1, 0, 0, 0x11, 0x22, 0x33, 0x44),)


def test_the_index_of_a_leaf_with_sub_leaves_is_significant():
    # arch/x86/kvm/cpuid.h: cpuid_function_is_indexed
    assert read("CPU:", XSTATE) == (CpuidEntry(0xD, 1, 1, 0xF, 0, 0, 0xFFFF_FFFF),)


def test_the_first_processor_is_read():
    other = LEAF_1.replace("0x00000022", "0x00000099")
    assert read("CPU 0:", LEAF_1, "CPU 1:", other) == read("CPU 0:", LEAF_1)


def test_empty_lines_and_a_missing_first_line_are_accepted():
    assert read("", LEAF_1, "", XSTATE, "") == read("CPU 0:", LEAF_1, XSTATE)


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ((), "line 1: expected lines of the form"),
        (("CPU 0:",), "line 1: expected lines of the form"),
        (("CPU 0:", LEAF_1[:-6] + "xyz"), "line 2: expected"),
        (("CPU 0:", LEAF_1[:40]), "line 2: expected"),
        (("CPU 0:", LEAF_1, "vendor_id = GenuineIntel"), "line 3: expected"),
        (("CPU 0:", LEAF_1, LEAF_1), "line 3: expected each sub-leaf once"),
        (("CPU 0:", LEAF_1, "CPU 1:", "nonsense"), "line 4: expected"),
        (("CPU 0:", LEAF_1.replace("0x00000011", "0x100000011")), "line 2: expected numbers of 32"),
    ],
)
def test_another_line_is_refused_with_its_number(lines, place):
    with pytest.raises(ScenarioError) as caught:
        read(*lines)
    assert str(caught.value).startswith(place)
