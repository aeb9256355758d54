"""Numbers and layouts in Python against what the C compiler saw in the kernel's headers."""

from __future__ import annotations

from itertools import pairwise
from struct import calcsize

import pytest

from kvmprobe.abi import ioctls, numbers, payload, tables
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.numbers import ArchPrctlCode, InternalError, KvmCap, KvmExit, Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.bindings._ffi import ffi, lib
from kvmprobe.bindings.events import DebugControl
from kvmprobe.bindings.structures import Structure
from kvmprobe.bindings.vm_devices import ClockFlag
from kvmprobe.bindings.vm_memory import MemoryFlag
from kvmprobe.native.payload_image import payload_code

STRUCTS = {
    "KVM_GET_MSR_INDEX_LIST": "struct kvm_msr_list",
    "KVM_GET_SUPPORTED_CPUID": "struct kvm_cpuid2",
    "KVM_GET_EMULATED_CPUID": "struct kvm_cpuid2",
    "KVM_GET_DEVICE_ATTR": "struct kvm_device_attr",
    "KVM_HAS_DEVICE_ATTR": "struct kvm_device_attr",
    "KVM_SET_USER_MEMORY_REGION": "struct kvm_userspace_memory_region",
    "KVM_GET_MSR_FEATURE_INDEX_LIST": "struct kvm_msr_list",
    "KVM_SET_DEVICE_ATTR": "struct kvm_device_attr",
    "KVM_GET_DIRTY_LOG": "struct kvm_dirty_log",
    "KVM_IRQ_LINE": "struct kvm_irq_level",
    "KVM_IRQFD": "struct kvm_irqfd",
    "KVM_IOEVENTFD": "struct kvm_ioeventfd",
    "KVM_GET_CLOCK": "struct kvm_clock_data",
    "KVM_SET_CLOCK": "struct kvm_clock_data",
    "KVM_ENABLE_CAP": "struct kvm_enable_cap",
    "KVM_TRANSLATE": "struct kvm_translation",
    "KVM_INTERRUPT": "struct kvm_interrupt",
    "KVM_SET_GUEST_DEBUG": "struct kvm_guest_debug",
    "KVM_SET_IDENTITY_MAP_ADDR": "uint64_t",
    "KVM_GET_REGS": "struct kvm_regs",
    "KVM_SET_REGS": "struct kvm_regs",
    "KVM_GET_SREGS": "struct kvm_sregs",
    "KVM_SET_SREGS": "struct kvm_sregs",
    "KVM_GET_SREGS2": "struct kvm_sregs2",
    "KVM_SET_SREGS2": "struct kvm_sregs2",
    "KVM_GET_LAPIC": "struct kvm_lapic_state",
    "KVM_SET_LAPIC": "struct kvm_lapic_state",
    "KVM_GET_MP_STATE": "struct kvm_mp_state",
    "KVM_SET_MP_STATE": "struct kvm_mp_state",
    "KVM_GET_VCPU_EVENTS": "struct kvm_vcpu_events",
    "KVM_SET_VCPU_EVENTS": "struct kvm_vcpu_events",
    "KVM_GET_DEBUGREGS": "struct kvm_debugregs",
    "KVM_SET_DEBUGREGS": "struct kvm_debugregs",
    "KVM_GET_ONE_REG": "struct kvm_one_reg",
    "KVM_SET_ONE_REG": "struct kvm_one_reg",
    "KVM_GET_REG_LIST": "struct kvm_reg_list",
    "KVM_GET_MSRS": "struct kvm_msrs",
    "KVM_SET_MSRS": "struct kvm_msrs",
    "KVM_GET_CPUID2": "struct kvm_cpuid2",
    "KVM_SET_CPUID": "struct kvm_cpuid",
    "KVM_SET_CPUID2": "struct kvm_cpuid2",
    "KVM_GET_FPU": "struct kvm_fpu",
    "KVM_SET_FPU": "struct kvm_fpu",
    "KVM_GET_XCRS": "struct kvm_xcrs",
    "KVM_SET_XCRS": "struct kvm_xcrs",
}
# struct kvm_xsave is 1024 words and a tail of no size of its own: asm/kvm.h
XSAVE = {"KVM_GET_XSAVE", "KVM_SET_XSAVE", "KVM_GET_XSAVE2"}
# struct kvm_nested_state is its header of 8 bytes, and a union that is padded to 120.
NESTED = {"KVM_GET_NESTED_STATE", "KVM_SET_NESTED_STATE"}

each_ioctl = pytest.mark.parametrize("spec", ioctls.ALL, ids=lambda s: s.name)


@each_ioctl
def test_the_number_is_the_headers(spec):
    assert spec.number == getattr(lib, spec.name)


@each_ioctl
def test_the_size_is_its_structures(spec):
    # asm-generic/ioctl.h: _IOC_SIZE is bits 16 to 29.
    if spec.name in XSAVE:
        expected = 4096
    elif spec.name in NESTED:
        expected = 128
    else:
        expected = ffi.sizeof(STRUCTS[spec.name]) if spec.name in STRUCTS else 0
    assert spec.number >> 16 & 0x3FFF == expected


@pytest.mark.parametrize(
    ("name", "number"),
    [
        # kernel-contract.md section 2, compiled once by hand
        ("GET_XSAVE", 0x9000AEA4),
        ("SET_XSAVE", 0x5000AEA5),
        ("GET_XCRS", 0x8188AEA6),
        ("SET_XCRS", 0x4188AEA7),
        ("GET_XSAVE2", 0x9000AECF),
        ("SET_CPUID", 0x4008AE8A),
        ("SET_CPUID2", 0x4008AE90),
        ("GET_CPUID2", 0xC008AE91),
        ("GET_MSRS", 0xC008AE88),
        ("SET_MSRS", 0x4008AE89),
        ("GET_FPU", 0x81A0AE8C),
        ("SET_FPU", 0x41A0AE8D),
        ("GET_SREGS", 0x8138AE83),
        ("SET_SREGS", 0x4138AE84),
        ("GET_DEVICE_ATTR", 0x4018AEE2),
        ("HAS_DEVICE_ATTR", 0x4018AEE3),
        ("GET_SUPPORTED_CPUID", 0xC008AE05),
        ("GET_MSR_INDEX_LIST", 0xC004AE02),
        ("CREATE_VM", 0xAE01),
        ("CHECK_EXTENSION", 0xAE03),
        ("CREATE_VCPU", 0xAE41),
        ("RUN", 0xAE80),
    ],
)
def test_the_number_is_the_contracts(name, number):
    assert getattr(ioctls, name).number == number


def test_no_two_ioctls_share_a_number():
    assert len({spec.number for spec in ioctls.ALL}) == len(ioctls.ALL)


@pytest.mark.parametrize("cap", KvmCap, ids=lambda c: c.name)
def test_each_capability_is_the_headers(cap):
    assert cap == getattr(lib, f"KVM_CAP_{cap.name}")


@pytest.mark.parametrize("cap", Capability, ids=lambda c: c.name)
def test_each_capability_of_the_bindings_is_the_headers(cap):
    assert cap == getattr(lib, f"KVM_CAP_{cap.name}")


def test_the_capabilities_of_scenarios_are_among_those_of_the_bindings():
    assert {cap.name: int(cap) for cap in KvmCap}.items() <= {
        cap.name: int(cap) for cap in Capability
    }.items()


@pytest.mark.parametrize(
    ("prefix", "flags"),
    [
        ("KVM_MEM_", MemoryFlag),
        ("KVM_CLOCK_", ClockFlag),
        ("KVM_GUESTDBG_", DebugControl),
        ("KVM_INTERNAL_ERROR_", InternalError),
    ],
)
def test_each_flag_of_the_bindings_is_the_headers(prefix, flags):
    assert {f.name: int(f) for f in flags} == {f.name: getattr(lib, prefix + f.name) for f in flags}


@pytest.mark.parametrize("code", ArchPrctlCode, ids=lambda c: c.name)
def test_each_arch_prctl_code_is_the_headers(code):
    assert code == getattr(lib, f"ARCH_{code.name}")


@pytest.mark.parametrize("reason", KvmExit, ids=lambda r: r.name)
def test_each_exit_reason_is_the_headers(reason):
    assert reason == getattr(lib, f"KVM_EXIT_{reason.name}")


def test_the_device_attribute_is_the_headers():
    assert lib.KVM_X86_XCOMP_GUEST_SUPP == numbers.KVM_X86_XCOMP_GUEST_SUPP


def test_the_index_flag_is_the_headers():
    # The header spells it SIGNIFCANT.
    assert lib.KVM_CPUID_FLAG_SIGNIFCANT_INDEX == numbers.KVM_CPUID_FLAG_SIGNIFICANT_INDEX


def test_msr_numbers_are_the_manuals():
    # SDM vol.4, table 2-2
    assert (Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS) == (0x1C4, 0x1C5, 0xDA0)


TABLES = [form for form in vars(tables).values() if isinstance(form, tables.TableFormat)]
SINGLE = [form for form in vars(tables).values() if isinstance(form, tables.Layout)]
LAYOUTS = [*SINGLE, *(part for form in TABLES for part in (form.head, form.entry) if part.name)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_members_have_the_offsets_of_the_headers(layout):
    packed = {name: layout.offset(name) for name in layout.members}
    assert packed == {name: ffi.offsetof(layout.name, name) for name in layout.members}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_members_have_the_sizes_of_the_headers(layout):
    fields = dict(ffi.typeof(layout.name).fields)
    packed = {name: calcsize(f"={code}") for name, code in layout.members.items()}
    assert packed == {name: ffi.sizeof(fields[name].type) for name in layout.members}


@pytest.mark.parametrize("form", TABLES, ids=lambda form: form.head.name)
def test_entries_follow_the_members_of_the_head(form):
    name, array = ffi.typeof(form.head.name).fields[len(form.head.members)]
    assert form.offset(0) == array.offset, name
    assert form.entry.packed.size == ffi.sizeof(array.type.item)
    assert form.offset(2) - form.offset(1) == ffi.sizeof(array.type.item)


def test_kvm_xcrs_has_as_many_entries_as_it_is_said_to():
    (xcrs,) = (field for name, field in ffi.typeof("struct kvm_xcrs").fields if name == "xcrs")
    assert xcrs.type.length == tables.MOST_XCRS


def test_every_structure_of_the_bindings_fills_its_ioctls():
    found = {cls.c_type for cls in _structures() if cls.c_type}
    assert found <= set(STRUCTS.values()) | {"struct kvm_segment", "struct kvm_dtable"}


def _structures(base=Structure):
    for cls in base.__subclasses__():
        yield cls
        yield from _structures(cls)


def test_an_unlisted_exit_is_told_by_number():
    assert (numbers.exit_name(5), numbers.exit_name(99)) == ("KVM_EXIT_HLT", "KVM_EXIT_99")


def test_the_opcodes_of_the_payload_count_from_0():
    # guest_payload.S has a table of them.
    assert sorted(PayloadOp) == list(range(len(PayloadOp)))


@pytest.mark.parametrize("field", payload.COMMAND)
def test_each_field_of_a_command_is_where_the_payload_reads_it(field):
    if field in payload.Registers._fields:
        text = payload.command(PayloadOp.NOP, payload.Registers(**{field: 0x55}))
    else:
        text = payload.command(PayloadOp.NOP, **{field: 0x55})
    assert text.index(b"\x55") == payload.COMMAND[field]
    assert len(text) == payload.COMMAND_SIZE


def test_the_payload_fits_before_its_commands():
    room = payload.PLACES["COMMAND"] - payload.PLACES["CODE"]
    assert len(payload_code()) <= room


def test_what_the_payload_has_in_memory_does_not_overlap():
    places = payload.PLACES
    used = [
        (places["COMMAND"], places["COMMAND_SIZE"]),
        (places["RESULT"], places["RESULT_SIZE"]),
        (places["COUNTER"], 8),
        (places["DATA"], places["DATA_SIZE"]),
        (places["MEMORY"], 0),
    ]
    assert all(at + size <= following for (at, size), (following, _) in pairwise(used))
