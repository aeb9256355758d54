import pytest

from kvmprobe.host.taint import letters, taints

# Documentation/admin-guide/tainted-kernels.rst: the table "The Taint bits", bit and letter.
TABLE = dict(enumerate("PFSRMBUDAWCIOEL")) | {15: "K", 16: "X", 17: "T", 18: "N", 19: "J"}


@pytest.mark.parametrize(("bit", "letter"), TABLE.items())
def test_each_bit_has_the_letter_of_the_kernels_table(bit, letter):
    assert letters(1 << bit) == letter


def test_a_kernel_without_taint_has_no_letters():
    assert letters(0) == ""


def test_a_bit_that_is_not_in_the_table_is_listed():
    (unknown,) = taints(1 << 25)
    assert (unknown.letter, unknown.bit) == ("?", 25)


@pytest.mark.parametrize(("letter", "bit"), [("W", 9), ("D", 7), ("L", 14), ("M", 4), ("B", 5)])
def test_a_fault_before_the_run_spoils_it(letter, bit):
    (taint,) = taints(1 << bit)
    assert (taint.letter, taint.spoils) == (letter, True)


@pytest.mark.parametrize("bit", [0, 12, 13, 18])
def test_modules_and_tests_do_not_spoil_a_run(bit):
    (taint,) = taints(1 << bit)
    assert not taint.spoils
