"""Runs on the emulated host, given the guide and import path; imported here, it loads modules."""

from __future__ import annotations

import doctest
import os
import site  # noqa: F401 - every Python that runs without -S loads it, such as the worker
import sys

GUIDE, *PATH = sys.argv[1:]
sys.path[:0] = PATH
os.environ["PYTHONPATH"] = os.pathsep.join(PATH)

from kvmprobe import model  # noqa: E402, F401 - the guide imports it
from kvmprobe.bindings import Kvm, Msr, guest_permission  # noqa: E402
from kvmprobe.execution import (  # noqa: E402
    running_host,  # noqa: F401 - the guide imports it
    worker,  # noqa: F401 - running_host starts it
)
from kvmprobe.xstate import (  # noqa: E402
    CpuidTable,
    XFeature,
    XsaveFields,
    encode,
    layout_of,
    names,
    xstate_bv_of,
)

TILES = XFeature.XTILE_DATA


def main():
    failed, tried = doctest.testfile(GUIDE, module_relative=False)
    print(f"guide: {failed} failed, {tried > 20}")
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


if __name__ == "__main__":
    main()
