"""What is supported is accepted, what is reserved is refused, what is accepted can be entered."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.fields import KVM_RUN
from kvmprobe.abi.numbers import U32_MAX, KvmExit
from kvmprobe.checkers.checker import at
from kvmprobe.checkers.event import input_of
from kvmprobe.checkers.registers import GET_OF, entry_failed, members, whole
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.control import EFER_RESERVED
from kvmprobe.results.claim import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding

_HIGH_HALF = U32_MAX << 32
# SDM vol.3 §2.5 "Control Registers": CR4[63:33] and these below; CR0[63:32].
_CR4_RESERVED = ~((1 << 33) - 1) & (1 << 64) - 1 | 1 << 15 | 0b111 << 29
_OF_SREGS = {"cr0": _HIGH_HALF, "cr4": _CR4_RESERVED, "efer": EFER_RESERVED}
RESERVED: Mapping[str, Mapping[str, int]] = {
    "KVM_SET_SREGS": _OF_SREGS,
    # KVM_SREGS2_FLAGS_PDPTRS_VALID is bit 0.
    "KVM_SET_SREGS2": {**_OF_SREGS, "flags": ~1 & (1 << 64) - 1},
    # linux/kvm.h has no flag.
    "KVM_SET_DEBUGREGS": {"flags": (1 << 64) - 1, "dr6": _HIGH_HALF, "dr7": _HIGH_HALF},
    # KVM_VCPUEVENT_VALID_*: bits 0 to 5.
    "KVM_SET_VCPU_EVENTS": {"flags": ~0x3F & U32_MAX},
}
"""Reserved bits of each ioctl's members, in both halves alike."""
_ALWAYS = frozenset({"KVM_SET_REGS", "KVM_SET_FPU"})
_OF_CPUID = frozenset({"KVM_SET_SREGS", "KVM_SET_SREGS2"})
_REASON = KVM_RUN[1]
# SDM vol.3 §28.8 "VM-Entry Failures During or After Loading Guest State": invalid guest state and
# MSR loading.  A VMRUN that fails has VMEXIT_INVALID, of 32 or 64 bits.
_NAMED_REASONS = frozenset({0x8000_0021, 0x8000_0022, U32_MAX, (1 << 64) - 1})


def reserved(name: str, content: bytes) -> Iterator[tuple[str, int]]:
    """Yield each member of an ioctl's argument with reserved bits, and these bits."""
    given = members(name, content)
    for member, bits in RESERVED.get(name, {}).items():
        if given[member] & bits:
            yield member, given[member] & bits


@at(*RESERVED)
def reserved_is_refused(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a SET refuses reserved bits, in the low half of a member as in the high one."""
    if event.result < 0 or Behaviour.VENDOR_OWNS_CR4 in state.host.behaviours:
        return
    content = input_of(event.call, state.captured)
    for member, bits in reserved(event.name, content) if whole(event.name, content) else ():
        values: dict[str, int | str] = {"call": event.name, "member": member, "value": bits}
        yield event.finding("acceptance", "INV-34", Claim.RESERVED_ACCEPTED, values)


@at(*GET_OF)
def supported_is_accepted(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a SET accepts what the GET just returned; REGS and FPU are always accepted.

    CR4 keeps a bit whose feature another CPUID table has taken away, and SET_SREGS refuses it.

    :see: arch/x86/kvm/cpuid.c: kvm_vcpu_after_set_cpuid; arch/x86/kvm/x86.c: kvm_is_valid_sregs
    """
    vcpu = state.vcpu(event)
    if vcpu is None or event.result != -errno.EINVAL:
        return
    content = input_of(event.call, state.captured)
    if not whole(event.name, content):
        return
    returned = vcpu.registers.read.get(GET_OF[event.name])
    if vcpu.replaced and event.name in _OF_CPUID:
        return
    if content == returned or event.name in _ALWAYS:
        yield event.finding("acceptance", "INV-19", Claim.LEGAL_REFUSED, {"call": event.name})


@at("RunVcpu")
def failed_entry_is_named(event: Event, state: ObservedState) -> Iterator[Finding]:  # noqa: ARG001
    """Check that KVM_EXIT_FAIL_ENTRY has the CPU's reason: the guest's state is not legal.

    Any other reason is about what KVM itself wrote into the VMCS or VMCB.
    """
    end = _REASON.offset + _REASON.width
    if event.result < 0 or len(event.output) < end:
        return
    if int.from_bytes(event.output[:4], "little") != KvmExit.FAIL_ENTRY:
        return
    reason = int.from_bytes(event.output[_REASON.offset : end], "little")
    if reason not in _NAMED_REASONS:
        yield event.finding("entry", "INV-19", Claim.ENTRY_FAILURE, {"value": reason})


@at("RunVcpu")
def reset_state_is_entered(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that SREGS as they were before the first KVM_RUN can be entered after a failed entry.

    A VM entry that fails loads no guest state (SDM vol.3 §28.8 "VM-Entry Failures During or After
    Loading Guest State"), so it leaves nothing that another KVM_SET_SREGS does not replace.
    """
    vcpu = state.vcpu(event)
    if vcpu is None or not entry_failed(event) or not vcpu.registers.first_sregs:
        return
    if vcpu.registers.last_sregs == vcpu.registers.first_sregs:
        yield event.finding("entry", "INV-19", Claim.STILL_NOT_ENTERED)
