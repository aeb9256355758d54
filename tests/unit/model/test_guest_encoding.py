"""Nearly valid encodings in a guest: the exception, and what is left alone."""

from __future__ import annotations

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.guest import PAYLOAD_CR0, PAYLOAD_CR4, Vector
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import MapPayload
from kvmprobe.scenarios.ops.guest_control import GuestWriteCr0, GuestWriteCr4, GuestXsetbv
from kvmprobe.scenarios.ops.guest_encoding import Encoding, GuestMisencoded
from kvmprobe.scenarios.ops.guest_tiles import GuestLdtilecfg
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.xstate.features import DYNAMIC, XFeature
from tests.support.hosts import AMX_HOST

BEGIN = (
    RequestGuestPermission(XFeature.XTILE_DATA),
    OpenKvm(),
    CreateVm(),
    MapPayload(),
    CreateVcpu(),
    SetCpuid2(Table.FULL),
    GuestWriteCr4(PAYLOAD_CR4 | Cr4.OSXSAVE.bit),
    GuestXsetbv(AMX_HOST.kvm_xcr0),
    GuestLdtilecfg(),
)
# SDM vol.3 6.15: what is not reserved but too long, or not aligned, is #GP.
GP = {Encoding.SIXTEEN_BYTES, Encoding.MOVAPS_MISALIGNED, Encoding.FXSAVE64_MISALIGNED}


def after(*ops):
    domain = Domain(AMX_HOST)
    for op in (*BEGIN, *ops):
        domain.follow(op)
    return domain


def test_each_is_an_exception_and_changes_nothing():
    wrong = []
    for encoding in Encoding:
        domain = after()
        before = domain.machine.vcpu("vcpu0")
        fields = domain.follow(GuestMisencoded(encoding)).outcome.fields
        vector = Vector.GP if encoding in GP else Vector.UD
        unchanged = domain.machine.vcpu("vcpu0") == before
        if (fields["vector"], fields["error_code"], unchanged) != (vector, 0, True):
            wrong.append(encoding.name)
    assert wrong == []


@pytest.mark.parametrize(
    "due",
    [GuestWriteCr0(PAYLOAD_CR0 | Cr0.TS), GuestWriteCr0(PAYLOAD_CR0 | Cr0.EM), SetXfd(DYNAMIC)],
)
def test_a_reserved_encoding_is_not_judged_where_the_instruction_may_be_nm(due):
    with pytest.raises(ScenarioError, match="#NM as well"):
        after(due, GuestMisencoded(Encoding.TILEZERO_TMM8))


@pytest.mark.parametrize("bit", [Cr0.TS, Cr0.EM])
def test_a_misaligned_operand_is_not_judged_where_the_instruction_may_be_nm_or_ud(bit):
    with pytest.raises(ScenarioError, match="not aligned"):
        after(GuestWriteCr0(PAYLOAD_CR0 | bit), GuestMisencoded(Encoding.MOVAPS_MISALIGNED))


def test_an_instruction_of_16_bytes_is_gp_even_with_cr0_ts():
    domain = after(GuestWriteCr0(PAYLOAD_CR0 | Cr0.TS))
    outcome = domain.follow(GuestMisencoded(Encoding.SIXTEEN_BYTES)).outcome
    assert outcome.fields["vector"] == Vector.GP
