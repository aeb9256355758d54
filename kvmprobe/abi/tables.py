"""Tables that ioctls take (linux/kvm.h, asm/kvm.h): a head with a count, and entries.  Pure."""

from __future__ import annotations

from kvmprobe.abi.layout import Layout, TableFormat

_REGISTERS = dict.fromkeys(("eax", "ebx", "ecx", "edx"), "I")
CPUID2 = TableFormat(
    Layout("struct kvm_cpuid2", {"nent": "I", "padding": "4x"}),
    Layout(
        "struct kvm_cpuid_entry2",
        {"function": "I", "index": "I", "flags": "I", **_REGISTERS, "padding": "12x"},
    ),
)
CPUID = TableFormat(
    Layout("struct kvm_cpuid", {"nent": "I", "padding": "4x"}),
    Layout("struct kvm_cpuid_entry", {"function": "I", **_REGISTERS, "padding": "4x"}),
)
MSRS = TableFormat(
    Layout("struct kvm_msrs", {"nmsrs": "I", "pad": "4x"}),
    Layout("struct kvm_msr_entry", {"index": "I", "reserved": "4x", "data": "Q"}),
)
XCRS = TableFormat(
    Layout("struct kvm_xcrs", {"nr_xcrs": "I", "flags": "I"}),
    Layout("struct kvm_xcr", {"xcr": "I", "reserved": "4x", "value": "Q"}),
)
MOST_XCRS = 16
"""KVM_MAX_XCRS, the entries that ``struct kvm_xcrs`` has room for."""
MSR_LIST = TableFormat(Layout("struct kvm_msr_list", {"nmsrs": "I"}), Layout("", {"index": "I"}))
REG_LIST = TableFormat(Layout("struct kvm_reg_list", {"n": "Q"}), Layout("", {"id": "Q"}))
ALL = tuple(table for table in list(globals().values()) if isinstance(table, TableFormat))
_BY_HEAD = {id(table.head): table for table in ALL}


def table_of(argument: Layout | None) -> TableFormat | None:
    """Return the table of which a structure is the head; None if it has a fixed size.

    ``struct kvm_xcrs`` is no such head: the structure has room for its entries.
    """
    return _BY_HEAD.get(id(argument))
