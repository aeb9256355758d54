"""Numbers and layouts in Python against what the C compiler sees in the kernel's headers."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import pairwise

import pytest

from kvmprobe.abi import c_checks, ioctls, numbers, payload
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.layout import Layout
from kvmprobe.abi.numbers import KvmCap, Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.native.payload_image import payload_code

HEADERS = """
#include <stddef.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>
"""


def compiler_says(*checks):
    """What the compiler prints about these lines after the kernel's headers."""
    text = HEADERS + "\n".join(checks)
    command = ["cc", "-std=gnu11", "-fsyntax-only", "-x", "c", "-"]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False).stderr


def changed(spec, **members):
    return replace(spec, argument=Layout(spec.argument.name, {**spec.argument.members, **members}))


def test_the_build_accepts_what_is_declared():
    assert compiler_says(*c_checks.of_ioctl(ioctls.SET_VCPU_EVENTS)) == ""


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (replace(ioctls.GET_REGS, nr=0x82), "KVM_GET_REGS is not 0x8090ae82"),
        (replace(ioctls.GET_REGS, direction=ioctls.Direction.WRITE), "KVM_GET_REGS is not 0x4090"),
        (changed(ioctls.GET_REGS, rflags="I"), "KVM_GET_REGS is not 0x808cae81"),
        (changed(ioctls.SET_CLOCK, clock="I", flags="Q"), "kvm_clock_data, flags) is not 0x4"),
        (
            changed(ioctls.SET_VCPU_EVENTS, nmi=Layout("", {"injected": "H", "masked": "H"})),
            "->nmi.masked) is not 0x2",
        ),
    ],
)
def test_the_build_names_what_the_headers_have_otherwise(spec, wrong):
    assert wrong in compiler_says(*c_checks.of_ioctl(spec))


def test_the_build_compares_every_ioctl_and_structure():
    text = c_checks.all_checks()
    layouts = [spec.argument for spec in ioctls.ALL if spec.argument and spec.argument.name]
    wanted = {f"{spec.name} == {spec.number:#x}," for spec in ioctls.ALL}
    wanted |= {f"sizeof({layout.name}) == {layout.size:#x}," for layout in layouts}
    wanted |= {f"offsetof({layout.name}, {name})" for layout in layouts for name in layout.members}
    assert [want for want in wanted if want not in text] == []


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


def test_the_capabilities_of_scenarios_are_among_those_of_the_bindings():
    assert {cap.name: int(cap) for cap in KvmCap}.items() <= {
        cap.name: int(cap) for cap in Capability
    }.items()


def test_msr_numbers_are_the_manuals():
    # SDM vol.4, table 2-2
    assert (Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS) == (0x1C4, 0x1C5, 0xDA0)


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
        value = b"\x55" if field == "instruction" else 0x55
        text = payload.command(PayloadOp.NOP, **{field: value})
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
        (payload.STACKS, payload.STACKS_SIZE),
        *((at, 0x1000) for at in (payload.VMXON, payload.VMCS, payload.MSR_BITMAP)),
        (places["MEMORY"], 0),
    ]
    assert all(at + size <= following for (at, size), (following, _) in pairwise(used))
