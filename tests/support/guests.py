"""A vCPU in the guest payload, and what one instruction makes of it."""

from __future__ import annotations

import struct

from kvmprobe.abi.payload import NO_EXCEPTION, Registers
from kvmprobe.model import guest, msr
from kvmprobe.model.guest_control import NOTHING
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.outcome import OneOf
from tests.support.hosts import AMX_HOST, VCPU, amx_vcpu, with_fields

ALL = 0x602E7
OSXSAVE, PKE = 1 << 18, 1 << 22
# SDM vol.3 §6.15: vectors
UD, NM, GP, NONE = 6, 7, 13, NO_EXCEPTION
LOW = 0xFFFF_FFFF


def in_payload(table=None, *, host=AMX_HOST, **fields):
    """A vCPU with all of the AMX host's CPUID, OSXSAVE and XCR0, but for ``fields``."""
    registers = {"cr4": 0x620 | OSXSAVE, "cr0": 0x8001_0033, "efer": 0x500, "in_payload": True}
    fields = {**registers, "xcr0": ALL, **fields}
    machine = amx_vcpu()._replace(host=host)
    cpuid = GuestCpuid.of(AMX_HOST.supported if table is None else table)
    return with_fields(machine, cpuid=cpuid, **fields)


def without_feature(leaf, subleaf, register, bit):
    """The AMX host's CPUID with one bit clear."""
    table = AMX_HOST.supported
    entry = table.find(leaf, subleaf)
    return table.replaced(leaf, subleaf, **{register: getattr(entry, register) & ~(1 << bit)})


def step(machine, instruction, value=0, ecx=0, rax=None):
    """One instruction with ``value`` in EDX:EAX."""
    given = Registers(rax=value & LOW if rax is None else rax, rcx=ecx, rdx=value >> 32)
    return guest.execute(machine, VCPU, given, instruction, NOTHING)


def run(machine, *instructions):
    """The machine after these."""
    for instruction in instructions:
        machine = step(machine, instruction).machine
    return machine


def vector(machine, instruction, value=0, ecx=0, rax=None):
    return answers(step(machine, instruction, value, ecx, rax).outcome)[0].fields["vector"]


def answers(outcome):
    """The legal answers; first that of a processor which tracks INIT state."""
    return outcome.choices if isinstance(outcome, OneOf) else (outcome,)


def memory(machine, instruction, value=0):
    """What the instruction leaves in the data area, on a processor which tracks INIT state."""
    return answers(step(machine, instruction, value).outcome)[0].memory.content


def area_header(content):
    """XSTATE_BV and XCOMP_BV: SDM vol.1 §13.4.2."""
    return struct.unpack_from("<QQ", content, 512)


def open_bits(outcome):
    """Bits of XSTATE_BV that are legal either way."""
    found = 0
    for answer in answers(outcome):
        found |= (
            area_header(answer.memory.content)[0]
            ^ area_header(answers(outcome)[0].memory.content)[0]
        )
        for place in answer.memory.unspecified:
            found |= int.from_bytes(place.bits, "little") if place.offset == 512 else 0
    return found


def edx_eax(outcome):
    return outcome.fields["rdx"] << 32 | outcome.fields["rax"]


def with_xfd(value):
    """An instruction that writes IA32_XFD, whatever the guest's CPUID."""
    return lambda guest: guest.with_vcpu(msr.with_xfd(guest.vcpu, value))
