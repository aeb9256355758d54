"""The largest CPUID that two hosts can give."""

from dataclasses import replace

import pytest

from kvmprobe.moves.shared_cpuid import shared_cpuid
from kvmprobe.scenarios.attached.template import read_template, template_text
from kvmprobe.xstate.features import numbers
from tests.support.probed import profile_of

NAMES = ("6.1.192", "6.12.95", "7.3.4", "7.3.4-no-amx", "6.18.44-pvm")
PAIRS = [(one, other) for one in NAMES for other in NAMES]


def shared(one, other):
    return shared_cpuid(profile_of(one), profile_of(other))


@pytest.mark.parametrize(
    ("one", "other", "xcr0", "xss"),
    [
        ("7.3.4", "7.3.4", 0x602E7, 0x1800),
        ("7.3.4", "7.3.4-no-amx", 0x2E7, 0x1800),
        ("7.3.4", "6.12.95", 0x602E7, 0),
        # AVX-512 is elsewhere: 0xD.5:EBX is 832 and 1088; no PKU, no XSAVES.
        ("7.3.4", "6.18.44-pvm", 7, 0),
    ],
)
def test_it_has_what_both_have_in_one_place(one, other, xcr0, xss):
    assert (shared(one, other).xcr0, shared(one, other).xss) == (xcr0, xss)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_it_does_not_depend_on_the_direction(one, other):
    assert shared(one, other) == shared(other, one)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_hosts_have_the_same_leaves_of_xstate_with_it(one, other):
    both = shared(one, other)
    tables = [both.table(profile_of(name)) for name in (one, other)]
    kept = numbers(both.xcr0 | both.xss)
    places = [(0xD, nr) for nr in (*kept[2:], 1)] + [(0x1D, 0), (0x1D, 1), (7, 1)]
    for leaf, subleaf in places:
        first, second = (table.at(leaf, subleaf) for table in tables)
        assert first[3] == second[3]
    assert [(t.xcr0, t.xss, t.xstate_size) for t in tables] == [
        (both.xcr0, both.xss, tables[0].standard_size(both.xcr0))
    ] * 2


@pytest.mark.parametrize(
    ("bit", "register"),
    [(22, "edx"), (24, "edx"), (25, "edx")],  # CPUID.7.0:EDX: AMX_BF16, AMX_TILE, AMX_INT8
)
def test_features_go_with_their_component(bit, register):
    table = shared("7.3.4", "7.3.4-no-amx").table(profile_of("7.3.4"))
    assert not table.has(7, 0, register, bit)


def test_avx512_goes_as_a_whole():
    host = profile_of("7.3.4-no-amx")
    without = replace(host, kvm_xcr0=host.kvm_xcr0 & ~(1 << 6))
    both = shared_cpuid(host, without)
    assert both.xcr0 == 0x207
    assert not both.table(host).has(7, 0, "ebx", 16)  # AVX512F


def test_a_template_reads_back_as_the_same_changes():
    changes = shared("7.3.4", "7.3.4-no-amx").changes
    assert read_template(template_text(changes).encode()).changes == changes


def test_equal_hosts_need_no_change():
    assert shared("7.3.4", "7.3.4").changes == ()
