"""Instructions of the XSAVE feature set that the processor lacks, whatever the guest's CPUID says.

SDM vol.2 XSAVEC, XSAVEOPT: #UD without the feature, before #NM; XRSTOR: #GP for a compacted area
without XSAVEC; XGETBV: #GP for ECX=1 without that feature (CPUID 0xD.1:EAX[0], [1], [2]).
"""

from dataclasses import replace
from functools import partial

import pytest

from kvmprobe.model.control import Cr0
from kvmprobe.model.guest_control import xgetbv
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm, xrstor, xsave
from tests.support.guests import GP, NONE, UD, in_payload, vector
from tests.support.hosts import AMX_HOST, image

SIZE = 11008
NOTHING = replace(AMX_HOST, cpu=AMX_HOST.cpu.replaced(0xD, 1, eax=0))
XSAVEOPT_ALONE = replace(AMX_HOST, cpu=AMX_HOST.cpu.replaced(0xD, 1, eax=1))


def saving(form, host, **fields):
    return vector(in_payload(host=host, **fields), partial(xsave, form=form, before=bytes(SIZE)))


def restoring(xcomp_bv, host):
    area = image(0, xcomp_bv=xcomp_bv)
    return vector(in_payload(host=host), partial(xrstor, form=RestoreForm.XRSTOR, memory=area))


@pytest.mark.parametrize("form", [SaveForm.XSAVEOPT, SaveForm.XSAVEC])
def test_an_instruction_that_the_processor_lacks_is_ud(form):
    assert saving(form, NOTHING) == UD


def test_it_is_ud_before_nm():
    assert saving(SaveForm.XSAVEC, XSAVEOPT_ALONE, cr0=0x8001_0033 | Cr0.TS) == UD


def test_what_it_has_executes():
    found = [saving(form, XSAVEOPT_ALONE) for form in (SaveForm.XSAVE, SaveForm.XSAVEOPT)]
    assert found == [NONE, NONE]


@pytest.mark.parametrize(("xcomp_bv", "expected"), [(COMPACTED, GP), (0, NONE)])
def test_without_compaction_a_compacted_area_is_gp(xcomp_bv, expected):
    assert restoring(xcomp_bv, XSAVEOPT_ALONE) == expected


@pytest.mark.parametrize(("register", "expected"), [(0, NONE), (1, GP)])
def test_what_is_in_use_cannot_be_read(register, expected):
    assert vector(in_payload(host=XSAVEOPT_ALONE), xgetbv, ecx=register) == expected
