"""Values, results and exits as reports show them."""

import pytest

from kvmprobe.reports.differences import shown
from kvmprobe.reports.values import fields_text, returned
from kvmprobe.results.difference import ExitDiffers, ResultDiffers, ValuesDiffer


@pytest.mark.parametrize(
    ("result", "text"), [(0, "returns 0"), (5, "returns 5"), (-95, "-EOPNOTSUPP (95)")]
)
def test_results_are_told_by_name(result, text):
    assert returned(result).replace("ENOTSUP ", "EOPNOTSUPP ") == text


def test_bitmaps_are_told_by_component_and_exits_by_name():
    # linux/kvm.h: KVM_EXIT_HLT is 5
    fields = {"XFD": 0x40000, "exit_reason": 5}
    assert fields_text(fields) == "XFD=0x40000 (XTILE_DATA), exit_reason=KVM_EXIT_HLT"


def test_numbers_that_are_neither_are_told_as_they_are():
    assert fields_text({"0xD.0:ECX": 2696}) == "0xD.0:ECX=2696"


def test_msrs_are_shown_as_the_manuals_write_them():
    # SDM vol.3 table 12-12 "Memory Type Setting of PAT Entries Following a Power-up or Reset";
    # vol.1 §13.1: state component 11 is CET user state
    shown = fields_text({"PAT": 0x0007_0406_0007_0406, "XSS": 1 << 11})
    assert shown == "PAT=0x7040600070406, XSS=0x800 (CET_USER)"


def test_a_control_word_is_shown_as_the_manuals_write_it():
    # SDM vol.1 §8.1.5 "x87 FPU Control Word": 037FH after initialisation
    assert fields_text({"FCW": 895}) == "FCW=0x37f"


def test_an_exit_reason_is_never_what_kvm_run_returns():
    # linux/kvm.h: KVM_EXIT_INTERNAL_ERROR is 17
    text = shown(ExitDiffers(0, 17))
    assert text.observed == "KVM_RUN returns 0 with exit_reason KVM_EXIT_INTERNAL_ERROR"
    assert text.expected == "KVM_EXIT_IO with the guest's answer"


def test_a_failed_entry_is_shown_with_the_hardwares_reason():
    # SDM vol.3 appendix C: 80000021H, VM-entry failure due to invalid guest state
    text = shown(ExitDiffers(0, 9, 0x8000_0021))
    assert text.observed.endswith("KVM_EXIT_FAIL_ENTRY, hardware_entry_failure_reason 0x80000021")


def test_a_value_that_the_output_lacks_is_not_shown():
    text = shown(ValuesDiffer({"0xD.0:EBX": 832, "nent": 36}, {"nent": 35}))
    assert (text.expected, text.observed) == ("0xD.0:EBX=832, nent=36", "nent=35")


def test_any_descriptor_is_a_descriptor():
    assert shown(ResultDiffers(None, -12)).expected == "a descriptor"
