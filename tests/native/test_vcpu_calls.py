"""A vCPU's state, got and set on a real /dev/kvm, with the errnos of each call."""

from __future__ import annotations

import errno
import struct
from dataclasses import replace

import pytest

from kvmprobe.abi.numbers import Msr
from kvmprobe.bindings import (
    Capability,
    EventFlag,
    Fpu,
    KernelCallError,
    LayoutError,
    MpState,
    Regs,
    VcpuEvents,
)
from kvmprobe.xstate import CpuidTable, XFeature, XsaveFields, encode, layout_of

MSR_REGISTER = 0x2030_0002_0000_0000
PDPTRS_VALID = 1


@pytest.fixture
def with_irqchip(vm):
    vm.create_irqchip()
    with vm.create_vcpu(0) as created:
        yield created


def test_registers_read_back(vcpu):
    regs = Regs(*range(1, 17), rip=0x1234, rflags=2)
    vcpu.set_regs(regs)
    assert vcpu.get_regs() == regs


def test_a_fresh_vcpu_is_at_the_reset_vector(vcpu):
    # SDM vol.3 11.1.4: CS base FFFF0000H, EIP FFF0H
    assert (vcpu.get_sregs().cs.base, vcpu.get_regs().rip) == (0xFFFF_0000, 0xFFF0)


def test_segments_read_back(vcpu):
    sregs = vcpu.get_sregs()
    sregs.ds.base = sregs.gs.base = 0x1230
    vcpu.set_sregs(sregs)
    assert vcpu.get_sregs() == sregs


def test_an_illegal_cr4_is_einval(vcpu, refused):
    refused(errno.EINVAL, vcpu.set_sregs, replace(vcpu.get_sregs(), cr4=1 << 40))


def test_both_views_of_segments_agree(vcpu):
    first, second = vcpu.get_sregs(), vcpu.get_sregs2()
    assert (first.cs, first.cr0, first.efer) == (second.cs, second.cr0, second.efer)


def test_sregs2_read_back(vcpu):
    sregs = vcpu.get_sregs2()
    sregs.es.base = 0x1230
    vcpu.set_sregs2(sregs)
    assert vcpu.get_sregs2() == sregs


@pytest.mark.parametrize("flags", [PDPTRS_VALID, 1 << 10], ids=["PDPTRs without PAE", "unknown"])
def test_a_flag_of_sregs2_that_does_not_fit_is_einval(vcpu, flags, refused):
    refused(errno.EINVAL, vcpu.set_sregs2, replace(vcpu.get_sregs2(), flags=flags))


def test_debug_registers_read_back(vcpu):
    debugregs = replace(vcpu.get_debugregs(), db=(1, 2, 3, 4))
    vcpu.set_debugregs(debugregs)
    assert vcpu.get_debugregs() == debugregs


@pytest.mark.parametrize("field", ["flags", "dr6", "dr7"])
def test_a_debug_register_beyond_32_bits_is_einval(vcpu, field, refused):
    refused(errno.EINVAL, vcpu.set_debugregs, replace(vcpu.get_debugregs(), **{field: 1 << 32}))


def test_an_unknown_register_is_einval(vcpu, refused):
    refused(errno.EINVAL, vcpu.get_one_reg, 5)
    refused(errno.EINVAL, vcpu.set_one_reg, 5, 0)


def test_a_register_that_is_an_msr_is_that_msr(kvm, vcpu):
    if not kvm.check_extension(Capability.ONE_REG):
        pytest.skip("KVM has no ONE_REG for MSRs")
    vcpu.set_one_reg(MSR_REGISTER | Msr.IA32_SYSENTER_CS, 0x10)
    assert vcpu.get_msrs((Msr.IA32_SYSENTER_CS,)) == (0x10,)
    assert vcpu.get_one_reg(MSR_REGISTER | Msr.IA32_SYSENTER_CS) == 0x10


def test_a_value_that_does_not_fit_a_register_is_refused(vcpu):
    with pytest.raises(LayoutError, match="does not fit 64 bits"):
        vcpu.set_one_reg(MSR_REGISTER | Msr.IA32_SYSENTER_CS, 1 << 64)


def test_the_list_of_registers_is_there_or_the_kernel_too_old(vcpu):
    try:
        registers = vcpu.get_reg_list()
    except KernelCallError as error:
        registers, refusal = (), error.errno
    else:
        refusal = errno.EINVAL
    assert refusal == errno.EINVAL
    assert all(isinstance(vcpu.get_one_reg(register), int) for register in registers)


def test_without_paging_an_address_is_itself(vcpu):
    found = vcpu.translate(0x1234)
    assert (found.valid, found.physical_address) == (1, 0x1234)


def test_a_cpuid_table_reads_back(kvm, vcpu):
    table = kvm.supported_cpuid()
    vcpu.set_cpuid2(table)
    # Leaf 0, the vendor: no vendor module rewrites it.
    expected = CpuidTable.from_bytes(table).find(0, 0)
    assert CpuidTable.from_bytes(vcpu.get_cpuid2()).find(0, 0) == expected


@pytest.mark.parametrize("table", [b"", bytes(7), struct.pack("=II", 1, 0) + bytes(39)])
def test_a_cpuid_table_that_is_cut_short_is_refused(vcpu, table):
    with pytest.raises(LayoutError, match="CPUID table"):
        vcpu.set_cpuid2(table)


def test_257_cpuid_entries_are_e2big(vcpu, refused):
    refused(errno.E2BIG, vcpu.set_cpuid2, struct.pack("=II", 257, 0))


def test_256_msrs_are_e2big(vcpu, refused):
    refused(errno.E2BIG, vcpu.get_msrs, range(256))
    refused(errno.E2BIG, vcpu.set_msrs, dict.fromkeys(range(256), 0))


def test_no_msrs_are_none(vcpu):
    assert (vcpu.get_msrs(()), vcpu.set_msrs({})) == ((), 0)


def test_the_tsc_has_a_frequency(vcpu):
    # 100 MHz to 10 GHz
    assert 100_000 < vcpu.get_tsc_khz() < 10_000_000


def test_the_tsc_keeps_its_frequency(vcpu):
    frequency = vcpu.get_tsc_khz()
    vcpu.set_tsc_khz(frequency)
    assert vcpu.get_tsc_khz() == frequency


def test_the_image_has_the_size_that_the_vm_reports(vm, vcpu):
    assert len(vcpu.get_xsave2()) == vcpu.xsave_size == vm.xsave_size()


def test_a_short_image_never_reaches_the_kernel(vcpu):
    with pytest.raises(LayoutError, match=f"{vcpu.xsave_size} bytes, not {vcpu.xsave_size - 1}"):
        vcpu.set_xsave(bytes(vcpu.xsave_size - 1))


def test_a_component_reads_back(kvm, vcpu):
    table = CpuidTable.from_bytes(kvm.supported_cpuid())
    vcpu.set_cpuid2(table.to_bytes())
    layout = layout_of(table)
    fields = XsaveFields(xstate_bv=4, contents={XFeature.YMM: b"high" * 64})
    vcpu.set_xsave(encode(fields, layout, vcpu.xsave_size))
    place = layout.component(XFeature.YMM)
    assert vcpu.get_xsave2()[place.offset : place.end] == b"high" * 64


def test_a_fresh_vcpu_has_no_hazard(vcpu):
    assert vcpu.load_hazard() == 0


def test_xcrs_are_xcr0_alone(vcpu):
    assert vcpu.get_xcrs() == {0: 1}


def test_other_xcrs_are_ignored(vcpu):
    vcpu.set_xcrs({1: 0xFF, 0: 1})
    assert vcpu.get_xcrs() == {0: 1}


def test_17_xcrs_are_refused(vcpu):
    with pytest.raises(LayoutError, match="16 extended"):
        vcpu.set_xcrs(dict.fromkeys(range(17), 1))


def test_fpu_registers_read_back_once_they_are_in_use(vcpu):
    # FP and SSE in XSTATE_BV: KVM_SET_FPU does not put them there.
    image = bytearray(vcpu.get_xsave2())
    image[512] = 3
    vcpu.set_xsave(bytes(image))
    fpu = Fpu(fcw=0x27F, xmm=(bytes(range(16)),) * 16)
    vcpu.set_fpu(fpu)
    assert (vcpu.get_fpu().fcw, vcpu.get_fpu().xmm) == (fpu.fcw, fpu.xmm)


def test_an_interrupt_waits_for_injection(vcpu):
    vcpu.interrupt(33)
    events = vcpu.get_vcpu_events()
    assert (events.interrupt.injected, events.interrupt.nr) == (1, 33)


def test_a_vector_beyond_255_is_einval(vcpu, refused):
    refused(errno.EINVAL, vcpu.interrupt, 256)


def test_an_interrupt_beside_a_controller_is_enxio(with_irqchip, refused):
    refused(errno.ENXIO, with_irqchip.interrupt, 33)


def test_an_nmi_is_pending(vcpu):
    vcpu.nmi()
    assert vcpu.get_vcpu_events().nmi.pending == 1


def test_events_read_back(vcpu):
    events = VcpuEvents(flags=EventFlag.NMI_PENDING)
    events.nmi.pending = events.nmi.masked = 1
    vcpu.set_vcpu_events(events)
    assert vcpu.get_vcpu_events().nmi == events.nmi


def test_an_unknown_flag_of_events_is_einval(vcpu, refused):
    refused(errno.EINVAL, vcpu.set_vcpu_events, VcpuEvents(flags=1 << 20))


def test_an_exception_beyond_31_is_einval(vcpu, refused):
    events = VcpuEvents()
    events.exception.injected, events.exception.nr = 1, 32
    refused(errno.EINVAL, vcpu.set_vcpu_events, events)


def test_the_first_vcpu_is_runnable_and_the_next_waits(vm):
    vm.create_irqchip()
    with vm.create_vcpu(0) as first, vm.create_vcpu(1) as second:
        assert first.get_mp_state() is MpState.RUNNABLE
        assert second.get_mp_state() is MpState.UNINITIALIZED


def test_the_run_state_reads_back(with_irqchip):
    with_irqchip.set_mp_state(MpState.HALTED)
    assert with_irqchip.get_mp_state() is MpState.HALTED


def test_a_run_state_without_a_controller_is_einval(vcpu, refused):
    refused(errno.EINVAL, vcpu.set_mp_state, MpState.SIPI_RECEIVED)


def test_the_apic_reads_back(with_irqchip):
    registers = bytearray(with_irqchip.get_lapic())
    registers[0x80] = 0x20  # TPR: SDM vol.3 table 12-1
    with_irqchip.set_lapic(bytes(registers))
    assert with_irqchip.get_lapic()[0x80] == 0x20


def test_an_apic_that_is_not_there_is_einval(vcpu, refused):
    refused(errno.EINVAL, vcpu.get_lapic)
    refused(errno.EINVAL, vcpu.set_lapic, bytes(1024))


@pytest.mark.parametrize("size", [0, 1023, 1025])
def test_an_apic_of_another_size_is_refused(vcpu, size):
    with pytest.raises(LayoutError, match="1024 bytes"):
        vcpu.set_lapic(bytes(size))


def test_nested_state_is_there_or_einval(kvm, vcpu, refused):
    vcpu.set_cpuid2(kvm.supported_cpuid())
    if not vcpu.nested_size:
        refused(errno.EINVAL, vcpu.get_nested_state)
        return
    state = vcpu.get_nested_state()
    vcpu.set_nested_state(state)
    assert vcpu.get_nested_state() == state


def test_illegal_nested_state_is_einval(vcpu, refused):
    # Flags of the first word that there are not.
    refused(errno.EINVAL, vcpu.set_nested_state, struct.pack("=HHI", 0xFFF0, 9, 128).ljust(128))


@pytest.mark.parametrize("state", [b"", bytes(127), struct.pack("=HHI", 0, 0, 129) + bytes(120)])
def test_nested_state_that_is_cut_short_is_refused(vcpu, state):
    with pytest.raises(LayoutError, match="nested state takes"):
        vcpu.set_nested_state(state)


def test_the_tsc_offset_is_an_attribute(vcpu):
    # Documentation/virt/kvm/devices/vcpu.rst: KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET
    # kvm_pvm takes any value and keeps 0.
    vcpu.has_device_attr(0, 0)
    offset = vcpu.get_device_attr(0, 0)
    vcpu.set_device_attr(0, 0, offset)
    assert vcpu.get_device_attr(0, 0) == offset


def test_an_attribute_that_is_not_there_is_enxio(vcpu, refused):
    refused(errno.ENXIO, vcpu.get_device_attr, 7, 0)


def test_a_capability_that_cannot_be_enabled_is_einval(vcpu, refused):
    refused(errno.EINVAL, vcpu.enable_cap, Capability.XSAVE)
