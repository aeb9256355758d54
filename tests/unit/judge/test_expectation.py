"""What a record says of a correct kernel."""

import pytest

from kvmprobe.judge.expectation import expected_fields
from kvmprobe.judge.lockstep import examined
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import (
    Done,
    ExpectedImage,
    Failed,
    HostDies,
    NewDescriptor,
    OneOf,
    Unspecified,
)
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRuns
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST, image

TILES = 0x60000
XFD_LAST = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"


def test_expected_fields_are_those_of_the_model():
    assert expected_fields(Done(fields={"XCR0": 7}), {"XCR0": 1}) == ({"XCR0": 7}, {})


def test_xstate_bv_is_read_from_the_image():
    expected, _ = expected_fields(Done(image=ExpectedImage(image(TILES))), {})
    assert expected == {"XSTATE_BV": TILES}


# SDM vol.1 13.4.2: XSTATE_BV is bytes 7:0 of the header, which begins at byte 512.
@pytest.mark.parametrize(
    ("offset", "bits", "undetermined"),
    [
        (512, b"\x02", {"XSTATE_BV": 2}),
        (514, b"\x06", {"XSTATE_BV": 0x60000}),
        (510, b"\xff\xff\x01", {"XSTATE_BV": 1}),
        (519, b"\x80\xff", {"XSTATE_BV": 1 << 63}),
        (24, b"\xff", {}),
        (576, b"\xff" * 8, {}),
        (2816, b"\xff" * 8192, {}),
    ],
)
def test_only_unspecified_header_bytes_leave_xstate_bv_unspecified(offset, bits, undetermined):
    expected = ExpectedImage(image(0), (Unspecified(offset, bits, Freedom.PCIDE_AT_ENTRY),))
    assert expected_fields(Done(image=expected), {"XSTATE_BV": 0})[1] == undetermined


def test_an_unspecified_bit_has_the_observed_value():
    outcome = Done(fields={"XCR0": 0b100}, open_fields={"XCR0": 0b011})
    assert expected_fields(outcome, {"XCR0": 0b1001}) == ({"XCR0": 0b101}, {"XCR0": 0b011})


def test_an_unspecified_field_that_was_not_read_is_omitted():
    assert expected_fields(Done(fields={"a": 1}, open_fields={"a": 1}), {}) == ({}, {})


def test_bits_that_differ_between_legal_outcomes_are_unspecified():
    outcome = OneOf(
        (Done(fields={"a": 1, "b": 5}), Done(fields={"a": 3, "b": 5})), Freedom.PCIDE_AT_ENTRY
    )
    assert expected_fields(outcome, {"a": 3, "b": 4}) == ({"a": 3, "b": 5}, {"a": 2})


def test_a_field_that_only_one_legal_outcome_has_is_omitted():
    assert expected_fields(
        OneOf((Done(fields={"a": 1}), Done()), Freedom.PCIDE_AT_ENTRY), {"a": 1}
    ) == ({}, {})


def test_a_failing_call_may_have_fields():
    assert expected_fields(Failed(22, {"n": 3}), {}) == ({"n": 3}, {})


@pytest.mark.parametrize("outcome", [NewDescriptor(), HostDies("whatever")])
def test_other_outcomes_show_nothing(outcome):
    assert expected_fields(outcome, {}) == ({}, {})


def test_a_record_has_the_values_of_a_correct_kernel_and_of_a_defective_one():
    # INV-25, INV-29: XFD[18]=1 clears XSTATE_BV[18]; O1 keeps it.
    (scenario,) = (s for s in catalog.scenarios(AMX_HOST) if s.id == XFD_LAST)
    trace = trace_of(scenario, AMX_HOST, Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    _, records = examined(scenario, ModelRuns(AMX_HOST), trace)
    written = records[-1].calls[1]
    assert (written.fields["XSTATE_BV"], written.expected["XSTATE_BV"]) == (0x60000, 0x20000)
