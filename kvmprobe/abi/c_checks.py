"""C text that compares the numbers and layouts of this package with the kernel's headers.  Pure.

``cdefs/build_ext.py`` compiles it into ``kvmprobe.bindings._kvm``: where the two disagree, the
build fails and names the number or the member.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls, numbers, tables
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import IntEnum, IntFlag

    from kvmprobe.abi.ioctls import IoctlSpec

_ENUMERATIONS: dict[str, type[IntEnum | IntFlag]] = {
    "ARCH_": numbers.ArchPrctlCode,
    "KVM_CAP_": Capability,
    "KVM_CLOCK_": ioctls.ClockFlag,
    "KVM_EXIT_": numbers.KvmExit,
    "KVM_GUESTDBG_": ioctls.DebugControl,
    "KVM_INTERNAL_ERROR_": numbers.InternalError,
    "KVM_MEM_": ioctls.MemoryFlag,
}
_NUMBERS = {
    # The header spells it so.
    "KVM_CPUID_FLAG_SIGNIFCANT_INDEX": numbers.KVM_CPUID_FLAG_SIGNIFICANT_INDEX,
    "KVM_MAX_XCRS": tables.MOST_XCRS,
    "KVM_X86_XCOMP_GUEST_SUPP": numbers.KVM_X86_XCOMP_GUEST_SUPP,
}


def all_checks() -> str:
    """Return all comparisons."""
    lines = [line for spec in (*ioctls.ALL, *ioctls.AS_RECORDED) for line in of_ioctl(spec)]
    for prefix, members in _ENUMERATIONS.items():
        lines += [_equal(f"{prefix}{member.name}", int(member)) for member in members]
    lines += [_equal(name, value) for name, value in _NUMBERS.items()]
    head = ioctls.KVM_RUN_HEAD
    lines += [*_members(head.name, "", head, 0), *of_layout(ioctls.KVM_SYNC_REGS)]
    lines += of_layout(ioctls.KVM_VMX_NESTED_STATE_HDR)
    lines.append(_equal(f"offsetof({head.name}, s.regs)", head.size))
    for form in tables.ALL:
        if form.entry.name:
            lines += of_layout(form.entry)
    return "\n".join(dict.fromkeys(lines))


def of_ioctl(spec: IoctlSpec) -> Iterator[str]:
    """Yield the comparison of an ioctl: its number, and the layout of its argument."""
    yield _equal(spec.name, spec.number)
    if spec.argument and spec.argument.name:
        yield from of_layout(spec.argument)


def of_layout(layout: Layout) -> Iterator[str]:
    """Yield the comparison of a structure: its size, and offset and size of each member."""
    yield _equal(f"sizeof({layout.name})", layout.size)
    yield from _members(layout.name, "", layout, 0)


def _members(structure: str, path: str, layout: Layout, start: int) -> Iterator[str]:
    for name, member in layout.members.items():
        full, offset = f"{path}{name}", start + layout.offset(name)
        size = member.size if isinstance(member, Layout) else struct.calcsize(f"={member}")
        yield _equal(f"offsetof({structure}, {full})", offset)
        yield _equal(f"sizeof((({structure} *)0)->{full})", size)
        if isinstance(member, Layout):
            yield from _members(structure, f"{full}.", member, offset)


def _equal(expression: str, value: int) -> str:
    return f'_Static_assert({expression} == {value:#x}, "{expression} is not {value:#x}");'
