"""Checkers on a single trace: replies of a correct kernel, one of them changed by hand."""

from __future__ import annotations

import errno
import struct
from dataclasses import replace

import pytest

from kvmprobe.abi.numbers import KvmCap
from kvmprobe.checkers.checker import EVERY_CALL
from kvmprobe.checkers.session import CHECKERS, Checkers
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm
from kvmprobe.model.one_reg import msr_id
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.catalog._guests import TILES, USE_XSAVE
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetCpuid2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.guest_control import GuestRdmsr, GuestXgetbv, GuestXsetbv
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor
from kvmprobe.scenarios.ops.lifecycle import CloseDescriptor, CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.literal import SetCpuid2Entries
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetMsrs, SetXfd
from kvmprobe.scenarios.ops.one_reg import SetOneReg
from kvmprobe.scenarios.ops.permission import GetGuestPermission, RequestGuestPermission
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.system import CheckExtension
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave, GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from tests.support.fake_kernel import trace_of, with_reply
from tests.support.hosts import AMX_HOST, B18, cet_host, with_behaviours

ASK = RequestGuestPermission(18)
READS = (GetXsave2(), GetXcrs(), GetXfd())
VCPU = (OpenKvm(), CreateVm(), CreateVcpu())
OF_VM = CheckExtension(KvmCap.XSAVE2, on="vm")
GUEST = (ASK, *VCPU, GetSupportedCpuid(), SetCpuid2(Table.FULL))


def sequence(*ops):
    return Scenario("test", "test", "", tuple(ScenarioStep(op) for op in ops))


def found(ops, changed=None, result=None, patches=(), host=AMX_HOST):
    """Kinds of findings in a correct trace, with the reply of one op exchanged.

    :param changed: number of the op, negative from the end
    :param patches: (offset, bytes) in its output
    """
    scenario = sequence(*ops)
    trace = trace_of(scenario, host)
    if changed is not None:
        place = changed % len(ops)
        reply = trace.steps[place].replies[0]
        output = bytearray(reply.output or b"")
        for offset, content in patches:
            output[offset : offset + len(content)] = content
        new = Reply(reply.result if result is None else result, bytes(output) or None)
        trace = with_reply(trace, place, 0, new)
    findings = Checkers(host).within(scenario, trace)
    return {(f.checker, f.invariant) for f in findings}


def u64(value):
    return struct.pack("<Q", value)


@pytest.mark.parametrize("ops", [(*VCPU, *READS), (*GUEST, *READS, SetXsave(0x60003), *READS)])
def test_a_correct_trace_has_none(ops):
    assert found(ops) == set()


def test_a_failing_call_that_changes_xcr0_is_found():
    # SDM vol.1 13.3: YMM needs SSE, so XCR0=5 is refused; struct kvm_xcrs has the value at 16
    ops = (*GUEST, GetXcrs(), SetXcrs(5), GetXcrs())
    assert ("failing-call", "INV-19") in found(ops, -1, patches=[(16, u64(5))])


def test_a_read_that_changes_state_is_found():
    ops = (*GUEST, SetXsave(0x3), GetXsave2(), GetXcrs(), GetXsave2())
    assert ("steady-read", "INV-19") in found(ops, -1, patches=[(160, b"\0")])


def test_a_call_that_changes_other_state_is_found():
    ops = (*GUEST, SetXsave(0x3), GetXsave2(), SetXcrs(3), GetXsave2())
    assert ("isolation", "INV-38") in found(ops, -1, patches=[(160, b"\0")])


def test_xstate_that_differs_from_the_restored_image_is_found():
    ops = (*GUEST, SetXsave(0x3), GetXsave2())
    assert ("set-and-get", "INV-20") in found(ops, -1, patches=[(160, b"\0\0\0\0")])


def test_a_lost_component_is_found():
    ops = (*GUEST, SetXsave(0x3), GetXsave2())
    assert ("set-and-get", "INV-20") in found(ops, -1, patches=[(512, b"\1")])


def test_xfd_that_reads_back_with_another_value_is_found():
    # struct kvm_msrs: 8 bytes of header, then index, reserved, value
    ops = (*GUEST, SetXfd(B18), GetXfd())
    assert ("set-and-get", "INV-25") in found(ops, -1, patches=[(16, u64(0))])


def test_xstate_bv_with_xfd_armed_is_found_in_either_order_of_reading():
    bit = [(514, b"\6")]
    for reads, changed in (((GetXsave2(), GetXfd()), -2), ((GetXfd(), GetXsave2()), -1)):
        ops = (*GUEST, SetXsave(0x60003), SetXfd(B18), *reads)
        assert ("xstate-and-xfd", "INV-29") in found(ops, changed, patches=bit)


@pytest.mark.parametrize("offset", [416, 463, 472, 511, 520, 575])
def test_a_nonzero_reserved_byte_is_found(offset):
    # contract §7.1, INV-16
    assert ("image-form", "INV-16") in found((*VCPU, GetXsave2()), -1, patches=[(offset, b"\1")])


def test_bytes_written_after_the_image_are_found():
    assert ("extent", "INV-14") in found((*VCPU, GetXsave2()), -1, patches=[(4096, b"\0")])


def test_a_new_vcpu_that_is_not_in_its_initial_state_is_found():
    # SDM vol.1 13.6: XCR0 is 1 after RESET
    assert ("fresh-vcpu", "INV-15") in found((*VCPU, GetXcrs()), -1, patches=[(16, u64(3))])


def test_a_component_beyond_the_guests_cpuid_is_found():
    ops = (*VCPU, SetXsave(0x7), GetXsave2())
    assert ("image-form", "INV-17") in found(ops, -1, patches=[(512, b"\7")])


def test_a_size_that_differs_from_cpuid_is_found():
    ops = (*VCPU, GetSupportedCpuid(), CheckXsave2())
    assert ("two-views", "INV-8") in found(ops, -1, result=11008)


def test_a_size_that_shrinks_is_found():
    # INV-8: "never decreases within an image"
    ops = (ASK, *VCPU, CheckXsave2(), CheckXsave2())
    assert ("growth", "INV-8") in found(ops, -1, result=4096)


def test_a_lost_permission_is_found():
    # contract §1: "Permission only ever grows inside a process image"
    ops = (ASK, GetGuestPermission(), GetGuestPermission())
    assert ("growth", "INV-2") in found(ops, -1, patches=[(0, u64(0x202E7))])


def test_a_permission_refused_with_the_wrong_errno_is_found():
    # contract §1: only a request for host permission returns ENOSPC
    assert ("permission", "INV-6") in found((ASK,), -1, result=-28)


def test_a_grant_after_the_first_vcpu_is_found():
    assert ("permission", "INV-4") in found((*VCPU, ASK), -1, result=0)


def test_tiles_without_permission_are_found():
    ops = (*VCPU, SetCpuid2(Table.FULL))
    assert ("permission", "INV-11") in found(ops, -1, result=0)


def test_a_refused_advertised_xcr0_is_found():
    ops = (*GUEST[:-1], SetCpuid2(), SetXcrs(0x602E7))
    assert ("closure", "INV-23") in found(ops, -1, result=-22)


def test_an_advertised_xfd_that_is_not_processed_is_found():
    ops = (*GUEST[:-1], SetCpuid2(), SetXfd(B18))
    assert ("closure", "INV-25") in found(ops, -1, result=0)


def test_a_refused_legal_image_is_found():
    ops = (*GUEST[:-1], SetCpuid2(), SetXsave(0x602E7))
    assert ("closure", "INV-18") in found(ops, -1, result=-22)


def test_a_listed_msr_that_is_not_readable_is_found():
    # The Sapphire Rapids profile lists IA32_XFD.
    assert ("closure", "INV-27") in found((*VCPU, GetXfd()), -1, result=0)


def test_an_msr_of_vmx_is_not_readable_on_a_vcpu_without_vmx():
    # arch/x86/kvm/vmx/vmx.c: vmx_get_msr: guest_cpu_cap_has(vcpu, X86_FEATURE_VMX)
    listed = replace(AMX_HOST, msrs=frozenset({0x48D}))
    unread = found((*VCPU, GetMsrs((0x48D,))), -1, result=0, host=listed)
    assert ("closure", "INV-27") not in unread


PAYLOAD = (*TILES.ops, USE_XSAVE)
# The payload's result block has RAX at byte 32 (kvmprobe/abi/payload.py).
RAX = 32


def test_an_xcr0_that_guest_and_host_read_differently_is_found():
    ops = (*PAYLOAD, SetXcrs(7), GuestXgetbv(0))
    assert found(ops) == set()
    assert ("guest-and-host", "INV-40") in found(ops, -1, patches=[(RAX, u64(3))])


def test_an_xfd_that_the_guest_reads_otherwise_than_the_host_set_it_is_found():
    ops = (*PAYLOAD, SetXfd(B18), GuestRdmsr(0x1C4))
    assert found(ops) == set()
    assert ("guest-and-host", "INV-40") in found(ops, -1, patches=[(RAX, u64(0))])


def test_an_xcr0_that_the_host_reads_otherwise_than_the_guest_wrote_it_is_found():
    ops = (*PAYLOAD, GuestXsetbv(7), GetXcrs())
    assert found(ops) == set()
    assert ("set-and-get", "INV-23") in found(ops, -1, patches=[(16, u64(3))])


def test_an_xsetbv_that_faults_leaves_xcr0_as_the_host_set_it():
    # SDM vol.1 13.3: YMM needs SSE, so 5 is #GP
    assert found((*PAYLOAD, SetXcrs(7), GuestXsetbv(5), GetXcrs(), GuestXgetbv(0))) == set()


def cpuid_with(leaf, subleaf, register, flip):
    """Return the kinds of findings if KVM_GET_CPUID2 flips these bits of a register."""
    ops = (*GUEST, SetXcrs(7), GetSregs(), GetCpuid2())
    scenario = sequence(*ops)
    trace = trace_of(scenario, AMX_HOST)
    table = CpuidTable.from_bytes(trace.steps[-1].replies[0].output)
    value = getattr(table.at(leaf, subleaf), register) ^ flip
    output = table.replaced(leaf, subleaf, **{register: value}).to_bytes()
    trace = with_reply(trace, len(ops) - 1, 0, Reply(0, output))
    return {(f.checker, f.invariant) for f in Checkers(AMX_HOST).within(scenario, trace)}


@pytest.mark.parametrize(
    ("leaf", "subleaf", "register", "flip"),
    [
        # SDM vol.1 13.2: 0xD.0:EBX is the size for XCR0, 0xD.1:EBX that for XCR0 | IA32_XSS
        (0xD, 0, "ebx", 64),
        (0xD, 1, "ebx", 64),
        # SDM vol.2 CPUID: 1:ECX[27] is CR4.OSXSAVE, 7.0:ECX[4] is CR4.PKE
        (1, 0, "ecx", 1 << 27),
        (7, 0, "ecx", 1 << 4),
    ],
    ids=["size for XCR0", "size for XCR0|XSS", "OSXSAVE", "OSPKE"],
)
def test_cpuid_that_does_not_follow_a_register_is_found(leaf, subleaf, register, flip):
    assert ("two-views", "INV-35") in cpuid_with(leaf, subleaf, register, flip)


def test_cpuid_that_follows_the_registers_is_no_finding():
    assert cpuid_with(0xD, 0, "ebx", 0) == set()


def test_cet_msrs_after_the_guests_xrstors_are_not_known():
    # SDM vol.1 13.12: XRSTORS initialises the components that the area lacks.
    state = SetMsrs(((0xDA0, 0x1800), (0x6A0, 1)))
    restore = GuestXrstor(7, COMPACTED | 7, RestoreForm.XRSTORS)
    ops = (*PAYLOAD, SetXcrs(7), state, restore, GuestRdmsr(0x6A0))
    assert found(ops, host=cet_host(ibt=True)) == set()


def test_a_write_of_an_msr_that_may_have_been_ignored_shows_no_value():
    # Linux arch/x86/kvm/x86.c: kvm_do_msr_access, ignore_msrs; XSS needs XSAVES in CPUID
    host = cet_host(Behaviour.UNSUPPORTED_MSRS_IGNORED, Behaviour.XSS_FOLLOWS_CPUID)
    ops = (*VCPU, SetMsrs(((0xDA0, 0x1800),)), GetMsrs((0xDA0,)))
    assert found(ops, host=host) == set()


# A closed descriptor: EBADF is the answer of the descriptor, not of the state that is checked.
def test_ebadf_of_a_closed_descriptor_is_no_finding_where_a_forked_process_must_get_eio():
    # INV-41; fuzz, seed 11: the process is forked after the VM's descriptor was closed
    ops = (*VCPU, CloseDescriptor("vm"), SpawnTask("fork", Relation.FORK), CreateVcpu(by="fork"))
    assert found(ops) == set()


def test_success_of_a_forked_process_is_still_found():
    ops = (*VCPU, SpawnTask("fork", Relation.FORK), CreateVcpu(vcpu="vcpu1", id=1, by="fork"))
    assert ("other-memory", "INV-41") in found(ops, -1, result=5)


def test_ebadf_is_no_answer_of_kvm_get_xsave():
    # INV-13; fuzz, seed 11
    assert found((*GUEST, CloseDescriptor("vcpu0"), GetXsave())) == set()


def test_success_of_kvm_get_xsave_with_tiles_is_still_found():
    assert ("extent", "INV-13") in found((*GUEST, GetXsave()), -1, result=0)


def test_ebadf_of_kvm_check_extension_is_no_size():
    # INV-8; fuzz, seed 13
    ops = (OpenKvm(), CreateVm(), GetSupportedCpuid(), CloseDescriptor("vm"), OF_VM)
    assert found(ops) == set()


def test_another_size_of_kvm_check_extension_is_still_found():
    ops = (OpenKvm(), CreateVm(), GetSupportedCpuid(), OF_VM)
    assert ("two-views", "INV-8") in found(ops, -1, result=4097)


# A vendor module replaces XSTATE features of the table that the guest was given.
REWRITES = Behaviour.VENDOR_REWRITES_CPUID
CHANGED_TABLE = (
    (*VCPU, GetSupportedCpuid(), SetCpuid2(Table.LEGACY), GetXsave2()),
    {"patches": [(512, b"\x07")]},
    ("image-form", "INV-17"),
)
TILES_WITHOUT_PERMISSION = (
    (*VCPU, GetSupportedCpuid(), SetCpuid2(Table.FULL)),
    {"result": 0},
    ("permission", "INV-11"),
)
XSTATE_FEATURES_READ_BACK = (
    (*GUEST, GetCpuid2()),
    # struct kvm_cpuid2: 8 bytes of header, then function, index, flags, EAX
    {"patches": [(8 + 12, b"\xff")]},
    ("set-and-get", "§4"),
)


@pytest.mark.parametrize(
    ("ops", "changed", "finding"),
    [CHANGED_TABLE, TILES_WITHOUT_PERMISSION, XSTATE_FEATURES_READ_BACK],
    ids=["image", "permission", "table"],
)
def test_what_follows_from_another_table_is_a_finding_unless_a_vendor_module_rewrites_it(
    ops, changed, finding
):
    assert finding in found(ops, -1, host=AMX_HOST, **changed)
    rewriting = with_behaviours(AMX_HOST, REWRITES)
    assert found(ops, -1, host=rewriting, **changed) == set()


@pytest.mark.parametrize(
    "write", [SetMsrs(((0x6A0, 0x200),)), SetOneReg(msr_id(0x6A0), 0x200)], ids=["msrs", "one-reg"]
)
def test_a_refused_write_of_an_msr_in_xstate_still_loads_the_guest_fpu(write):
    # fuzz, seed 23, number 353: XSTATE_BV[9] becomes 1, PKRU being tracked as in use
    host = cet_host(Behaviour.ONE_REG_MSRS, ibt=True)
    ops = (*VCPU, GetSupportedCpuid(), SetCpuid2(), GetXsave(), write, GetXsave2())
    assert found(ops, -1, patches=[(512, b"\x00\x02")], host=host) == set()


def test_a_checker_names_calls_that_exist():
    # It is not asked about any other, so a name that is written wrongly would silence it.
    odd = {c.check.__name__: c.calls - EVERY_CALL for c in CHECKERS if c.calls - EVERY_CALL}
    assert odd == {}


@pytest.mark.parametrize(("flags", "finding"), [(0, set()), (1, {("set-and-get", "§4")})])
def test_kvm_updates_an_entry_whose_index_is_not_significant_whatever_its_index(flags, finding):
    # arch/x86/kvm/cpuid.c: cpuid_entry2_find compares the index only if the flag is set;
    # kvm_update_cpuid_runtime clears OSXSAVE, 1:ECX[27], while CR4.OSXSAVE is 0.
    entry = (1, 1, flags, 0, 0, 1 << 27, 0)
    ops = (OpenKvm(), CreateVm(), CreateVcpu(), SetCpuid2Entries((entry,)), GetCpuid2())
    scenario = sequence(*ops)
    trace = trace_of(scenario, AMX_HOST)
    output = CpuidTable((CpuidEntry(*entry)._replace(ecx=0),)).to_bytes()
    trace = with_reply(trace, len(ops) - 1, 0, Reply(0, output))
    found = Checkers(AMX_HOST).within(scenario, trace)
    assert {(f.checker, f.invariant) for f in found} == finding


def test_an_ignored_0_for_an_msr_that_another_table_took_away_is_no_finding():
    # arch/x86/kvm/x86.c: kvm_do_msr_access accepts it; a read still shows 0x800
    cet = SetMsrs(((0xDA0, 0x800),))
    ops = (*VCPU, SetCpuid2(Table.NO_AMX), cet, SetCpuid2(Table.EMPTY), SetMsrs(((0xDA0, 0),)))
    read = (*ops, GetMsrs((0xDA0,)))
    assert found(read, -1, patches=[(16, u64(0x800))], host=cet_host()) == set()


def test_a_bit_of_cr4_that_another_table_took_away_may_be_refused():
    # arch/x86/kvm/x86.c: kvm_is_valid_sregs looks at the guest's CPUID
    osxsave = SetSregs(1 << 18)
    tables = (SetCpuid2(Table.NO_AMX), osxsave, SetCpuid2(Table.EMPTY))
    ops = (*VCPU, GetSregs(), *tables, GetSregs(), osxsave)
    assert found(ops, -1, result=-errno.EINVAL) == set()


def test_a_bit_of_cr4_from_before_the_first_table_may_be_refused():
    # as 6.12.43 does, which takes any bit of a feature as long as there is no table
    osxsave = SetSregs(1 << 18)
    ops = (*VCPU, GetSregs(), osxsave, SetCpuid2(Table.EMPTY), GetSregs(), osxsave)
    trace = trace_of(sequence(*ops), AMX_HOST)
    accepted = with_reply(trace, 4, 0, Reply(0))
    refused = with_reply(accepted, len(ops) - 1, 0, Reply(-errno.EINVAL))
    assert Checkers(AMX_HOST).within(sequence(*ops), refused) == ()
