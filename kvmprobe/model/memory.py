"""Guest memory: slots of user memory in a VM (virt/kvm/kvm_main.c: kvm_set_memory_region).

Leaves out deletion, flags and guest_memfd.  What a guest writes to its memory is no part of the
model.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import RESET_PAGE
from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine, Vm

PAGE_SIZE = 4096
# native/shared/payload.h: two slots, the payload's memory from address 0 and its reset page.
_PAYLOAD_SLOT, _PAYLOAD_SIZE = 0x10, 0x20000


@dataclass(frozen=True, slots=True)
class Region:
    """Memory in a slot.

    :ivar address: guest-physical, in bytes
    :ivar size: in bytes
    :ivar memory: which user memory it is
    """

    slot: int
    address: int
    size: int
    memory: str

    def overlaps(self, other: Region) -> bool:
        """Return True if the two have a guest-physical address in common."""
        return (
            self.address < other.address + other.size and other.address < self.address + self.size
        )


def reset_page(memory: str) -> Region:
    """Return the page of the reset vector, in the slot that is used for it.

    :see: SDM vol.3 §11.1.4 "First Instruction Executed"
    """
    return Region(0, RESET_PAGE, PAGE_SIZE, memory)


def payload_regions(number: int) -> tuple[Region, ...]:
    """Return the guest payload's memory of that number, and the page with its reset vector.

    :see: SDM vol.3 §11.1.4 "First Instruction Executed"
    """
    memory = f"payload {number}"
    code = Region(_PAYLOAD_SLOT, 0, _PAYLOAD_SIZE, memory)
    return (code, Region(_PAYLOAD_SLOT + 1, RESET_PAGE, PAGE_SIZE, memory))


SET_MEMORY_REGION = Rule(
    "memory slots do not overlap, and a slot in use keeps its memory",
    (),
    (
        KernelSource(KernelFile.KVM_MAIN, "kvm_set_memory_region"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_check_memslot_overlap"),
    ),
)


def map_region(machine: Machine, vm_name: str, *regions: Region) -> Step:
    """KVM_SET_USER_MEMORY_REGION for each region, up to the first that fails.

    A slot that is in use accepts only what it has; a free slot may overlap no other.

    :see: virt/kvm/kvm_main.c: kvm_set_memory_region, kvm_check_memslot_overlap
    """
    for region in regions:
        vm = machine.vm(vm_name)
        number = _refusal(vm, region)
        if number:
            return Step(machine, Failed(number), SET_MEMORY_REGION)
        machine = machine.with_vm(vm_name, vm._replace(slots={**vm.slots, region.slot: region}))
    return Step(machine, Done(), SET_MEMORY_REGION)


def map_fresh(machine: Machine, vm_name: str, region: Region) -> Step:
    """Map memory that no slot has: a slot that is in use refuses it.

    :see: virt/kvm/kvm_main.c: kvm_set_memory_region
    """
    if region.slot in machine.vm(vm_name).slots:
        return Step(machine, Failed(errno.EINVAL), SET_MEMORY_REGION)
    return map_region(machine, vm_name, region)


def map_payload(machine: Machine, vm_name: str) -> Step:
    """Map fresh memory with the guest payload; later calls mean this memory.

    :see: virt/kvm/kvm_main.c: kvm_set_memory_region
    """
    fresh = machine._replace(payload=machine.payload + 1)
    return map_region(fresh, vm_name, *payload_regions(fresh.payload))


def share_payload(machine: Machine, vm_name: str) -> Step:
    """Map the guest payload's memory that was mapped last.

    :see: virt/kvm/kvm_main.c: kvm_set_memory_region
    """
    return map_region(machine, vm_name, *payload_regions(machine.payload))


def _refusal(vm: Vm, region: Region) -> int:
    old = vm.slots.get(region.slot)
    if old is not None:
        return 0 if old == region else errno.EINVAL
    return errno.EEXIST if any(region.overlaps(r) for r in vm.slots.values()) else 0
