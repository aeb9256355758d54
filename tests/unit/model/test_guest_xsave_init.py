"""What the guest's saves make of components in INIT state: SDM vol.1 §13.6, §13.9 to §13.11."""

import struct
from functools import partial

import pytest

from kvmprobe.model import guest_xsave as xsave
from kvmprobe.model.guest_xsave import SaveForm
from kvmprobe.model.uabi import set_xsave
from tests.support.guests import answers, area_header, in_payload, open_bits, step
from tests.support.hosts import B0, B1, VCPU, image

SAVES = {form: partial(xsave.xsave, form=form, before=bytes(11008)) for form in SaveForm}
COMPACTING = [SaveForm.XSAVEC, SaveForm.XSAVES]


def holding_xmm():
    return set_xsave(in_payload(), VCPU, image(B1, {1: b"\x12" * 256})).machine


@pytest.mark.parametrize("form", SaveForm)
def test_whether_init_counts_as_in_use_is_open(form):
    assert open_bits(step(holding_xmm(), SAVES[form], 7).outcome) == 5


@pytest.mark.parametrize("form", COMPACTING)
def test_what_is_tracked_as_in_use_is_written_and_what_is_not_is_left(form):
    # SDM vol.1 §13.6, §13.10: XSTATE_BV[i], and then the bytes of INIT state; MXCSR_MASK with SSE.
    legal = answers(step(in_payload(), SAVES[form], B0 | B1).outcome)
    found = {
        (area_header(one.memory.content)[0], *struct.unpack_from("<H22x2I", one.memory.content))
        for one in legal
    }
    assert found == {
        (0, 0, 0, 0),
        (1, 0x37F, 0, 0),
        (2, 0, 0x1F80, 0xFFFF),
        (3, 0x37F, 0x1F80, 0xFFFF),
    }


def test_xsaveopt_writes_mxcsr_in_any_case_and_fcw_if_x87_is_tracked_as_in_use():
    # SDM vol.1 §13.9: the init optimization does not apply to MXCSR and MXCSR_MASK.
    legal = answers(step(in_payload(), SAVES[SaveForm.XSAVEOPT], B0 | B1).outcome)
    found = {struct.unpack_from("<H22x2I", one.memory.content) for one in legal}
    assert found == {(0, 0x1F80, 0xFFFF), (0x37F, 0x1F80, 0xFFFF)}
