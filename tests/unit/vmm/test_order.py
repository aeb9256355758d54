"""A recording's restore as the calls of a preset."""

from dataclasses import replace

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.tables import MSRS
from kvmprobe.errors import RecordingError
from kvmprobe.scenarios.presets import presets
from kvmprobe.vmm.order import restore_order
from tests.support.recorded_scenarios import recorded
from tests.support.replays import entries_of, qemu

# SDM vol.4: IA32_PAT, IA32_XFD, IA32_XFD_ERR, IA32_XSS, IA32_U_CET, IA32_FEATURE_CONTROL.
PAT, XFD, XFD_ERR, XSS, U_CET, FEATURE_CONTROL = 0x277, 0x1C4, 0x1C5, 0xDA0, 0x6A0, 0x3A


def preset(name):
    return next(one for one in presets() if one.name == name)


def test_qemu_has_the_order_that_was_written_of_it(tmp_path):
    _, entries = qemu(tmp_path)
    assert tuple(restore_order(entries).calls) == preset("qemu-7.2").tokens


@pytest.mark.parametrize(
    "name", ["kselftest", "crosvm", "cloud-hypervisor", "openvmm", "tglx-2021", "live-update-draft"]
)
def test_the_order_of_a_recorded_scenario_is_its_presets(name, tmp_path):
    _, entries = entries_of(recorded("7.3.4", f"vmm.{name}.no-tiles", tmp_path / "r"))
    # Lists are told by what they restore.
    words = {"listed-msrs": "msrs", "xsave-all": "xsave"}
    wanted = [words.get(token, token) for token in preset(name).tokens]
    assert restore_order(entries).calls == wanted


@pytest.fixture
def with_lists(tmp_path):
    """Return a function that gives a recording's one KVM_SET_MSRS other lists."""
    _, entries = entries_of(recorded("7.3.4", "vmm.kselftest.no-tiles", tmp_path / "r"))
    at = next(i for i, one in enumerate(entries) if one.spec == ioctls.SET_MSRS)
    found = entries[at]

    def changed(*lists):
        sets = [
            replace(
                found,
                sent=MSRS.pack((index, 0) for index in indices),
                line=replace(found.line, result=len(indices)),
            )
            for indices in lists
        ]
        return restore_order([*entries[:at], *sets, *entries[at + 1 :]])

    return changed


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ([[PAT, XFD, XFD_ERR, XSS]], ["msrs"]),
        ([[PAT]], ["other-msrs"]),
        ([[PAT, XSS]], ["xss-msrs"]),
        ([[PAT, XSS, U_CET]], ["cet-msrs"]),
        ([[XSS]], ["xss"]),
        ([[XFD], [XFD_ERR], [PAT], [XSS]], ["each-msr"]),
        ([[FEATURE_CONTROL]], []),
    ],
)
def test_a_list_of_msrs_is_told_by_those_that_presets_restore(lists, words, with_lists):
    order = with_lists(*lists)
    assert order.calls == ["cpuid", "sregs", *words, *order.calls[2 + len(words) :]]
    assert order.remarks == {}


def test_what_a_word_restores_beyond_the_call_is_a_remark(with_lists):
    assert list(with_lists([PAT, XFD, XFD_ERR]).remarks) == ["'msrs' restores IA32_XSS as well"]


def test_a_list_without_such_msrs_is_listed(with_lists):
    left = with_lists([FEATURE_CONTROL]).left_out
    assert left == {("KVM_SET_MSRS", "it sets none of the MSRs that presets restore"): 1}


def test_a_call_that_failed_is_listed(tmp_path):
    _, entries = entries_of(recorded("7.3.4", "vmm.kselftest.no-tiles", tmp_path / "r"))
    failed = [
        replace(one, line=replace(one.line, result=-22)) if one.spec == ioctls.SET_XCRS else one
        for one in entries
    ]
    order = restore_order(failed)
    assert "xcrs" not in order.calls
    assert order.left_out["KVM_SET_XCRS", "it failed"] == 1


def test_a_recording_that_restores_nothing_has_no_order(tmp_path):
    _, entries = qemu(tmp_path)
    with pytest.raises(RecordingError, match="no call in it restores a vCPU"):
        restore_order(entries[:50])


def test_an_order_has_a_limit(tmp_path):
    _, entries = entries_of(recorded("7.3.4", "vmm.kselftest.no-tiles", tmp_path / "r"))
    at = next(i for i, one in enumerate(entries) if one.spec == ioctls.SET_XCRS)
    with pytest.raises(RecordingError, match="an order has at most 64"):
        restore_order([*entries[:at], *[entries[at]] * 64])
