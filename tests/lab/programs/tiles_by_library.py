"""Runs on the emulated host, given the import path; imported here, it loads modules."""

from __future__ import annotations

import mmap
import os
import struct
import sys

sys.path[:0] = sys.argv[1:]

from kvmprobe.bindings import (  # noqa: E402
    Kvm,
    Msr,
    Regs,
    guest_permission,
    request_guest_permission,
)
from kvmprobe.bindings.gateway import Pinned, call_buffer  # noqa: E402
from kvmprobe.xstate import (  # noqa: E402
    CpuidTable,
    XFeature,
    XsaveFields,
    encode,
    layout_of,
    names,
    xstate_bv_of,
)

# linux/kvm.h of 6.18; the library has no guest_memfd.
KVM_CREATE_GUEST_MEMFD, KVM_SET_USER_MEMORY_REGION2 = 0xC040AED4, 0x40A0AE49
GUEST_MEMFD_FLAG_MMAP, GUEST_MEMFD_FLAG_INIT_SHARED, KVM_MEM_GUEST_MEMFD = 1, 2, 4
TILES = XFeature.XTILE_DATA


def main():
    request_guest_permission(TILES)
    print("permission:", names(guest_permission() & TILES.bit))
    with Kvm.open() as kvm, kvm.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        table = CpuidTable.from_bytes(kvm.supported_cpuid())
        vcpu.set_cpuid2(table.to_bytes())
        vcpu.set_xcr0(table.xcr0)
        content = bytes(range(256)) * 32
        fields = XsaveFields(xstate_bv=TILES.bit, contents={TILES: content})
        image = encode(fields, layout_of(table), vcpu.xsave_size)
        vcpu.set_xsave(image)
        print("size:", vcpu.xsave_size)
        print("image:", names(xstate_bv_of(vcpu.get_xsave2())), vcpu.load_hazard())
        vcpu.set_msrs({Msr.IA32_XFD: TILES.bit})
        print("hazard:", names(vcpu.load_hazard()))
        nested = vcpu.get_nested_state()
        vcpu.set_nested_state(nested)
        print("nested:", len(nested), vcpu.nested_size >= len(nested))
    print("fault:", memory_fault())


def memory_fault():
    """What a run ends with whose memory is a guest_memfd that has been closed."""
    with Kvm.open() as kvm, kvm.create_vm() as vm:
        flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED
        creation = bytearray(struct.pack("=QQ48x", mmap.PAGESIZE, flags))
        memfd = call_buffer(vm.fd, KVM_CREATE_GUEST_MEMFD, creation)
        if memfd < 0:
            return f"KVM_CREATE_GUEST_MEMFD: {memfd}"
        memory = mmap.mmap(memfd, mmap.PAGESIZE)
        pinned = Pinned(memory)
        region = struct.pack(
            "=IIQQQQI116x",
            *(0, KVM_MEM_GUEST_MEMFD, 0x1000, mmap.PAGESIZE, pinned.address, 0, memfd),
        )
        result = call_buffer(vm.fd, KVM_SET_USER_MEMORY_REGION2, bytearray(region))
        del pinned
        memory.close()
        os.close(memfd)
        if result < 0:
            return f"KVM_SET_USER_MEMORY_REGION2: {result}"
        with vm.create_vcpu(0) as vcpu:
            sregs = vcpu.get_sregs()
            sregs.cs.base = sregs.cs.selector = 0
            vcpu.set_sregs(sregs)
            vcpu.set_regs(Regs(rip=0x1000))
            return vcpu.run()


if __name__ == "__main__":
    main()
