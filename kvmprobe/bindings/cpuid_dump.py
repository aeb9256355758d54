"""Every CPUID leaf of the processor this runs on.

SDM vol.2 CPUID and AMD APM vol.3 appendix E say how many subleaves a leaf has.
The caller pins itself to one CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.bindings.host_cpu import Registers, answer, leaf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HYPERVISOR, EXTENDED = 0x4000_0000, 0x8000_0000
_HYPERVISOR_BIT = 1 << 31
_MOST_LEAVES, _MOST_SUBLEAVES = 0x100, 64


class Leaf(NamedTuple):
    """What CPUID returned; 32 bits each."""

    leaf: int
    subleaf: int
    eax: int
    ebx: int
    ecx: int
    edx: int


def dump() -> list[Leaf]:
    """Return the leaves of the basic, the hypervisor's and the extended range, in that order."""
    found = list(_range(0, leaf(0).eax))
    if hypervisor_vendor():
        found += _range(HYPERVISOR, answer(HYPERVISOR, 0).eax)
    return found + list(_range(EXTENDED, leaf(EXTENDED).eax))


def hypervisor_vendor() -> str:
    """Return the hypervisor's signature, such as ``KVMKVMKVM``; empty if there is no hypervisor.

    :see: Documentation/virt/kvm/x86/cpuid.rst: leaf 0x40000000; leaf 1 ECX[31]
    """
    if not leaf(1).ecx & _HYPERVISOR_BIT:
        return ""
    _, *words = answer(HYPERVISOR, 0)
    signature = b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")
    # For a leaf that it does not have, a processor returns the data of another one.
    return signature.decode() if signature.isascii() and signature.decode().isprintable() else ""


def hypervisor_bit() -> int:
    """Return leaf 1 ECX[31]."""
    return leaf(1).ecx >> 31 & 1


def _range(base: int, maximum: int) -> Iterator[Leaf]:
    for number in range(base, min(maximum, base + _MOST_LEAVES) + 1):
        yield from _leaf(number)


def _leaf(number: int) -> Iterator[Leaf]:
    first = answer(number, 0)
    yield Leaf(number, 0, *first)
    subleaves = _SUBLEAVES.get(number)
    if subleaves:
        for nr in subleaves(number, first):
            yield Leaf(number, nr, *answer(number, nr))


def _up_to_eax(_number: int, first: Registers) -> Iterator[int]:
    yield from range(1, min(first.eax, _MOST_SUBLEAVES) + 1)


def _bits_of(value: int) -> Iterator[int]:
    yield from (nr for nr in range(1, value.bit_length()) if value >> nr & 1)


def _xstate(number: int, first: Registers) -> Iterator[int]:
    second = answer(number, 1)
    yield 1
    components = first.eax | first.edx << 32 | second.ecx | second.edx << 32
    yield from (nr for nr in _bits_of(components) if nr > 1)


def _until(no_more: Callable[[Registers], bool]) -> Callable[[int, Registers], Iterator[int]]:
    def subleaves(number: int, first: Registers) -> Iterator[int]:
        last, nr = first, 0
        while not no_more(last) and nr < _MOST_SUBLEAVES:
            nr += 1
            yield nr
            last = answer(number, nr)

    return subleaves


def _sgx(number: int, _first: Registers) -> Iterator[int]:
    yield 1
    for nr in range(2, _MOST_SUBLEAVES):
        if not answer(number, nr).eax & 0xF:
            return
        yield nr


_cache_levels = _until(lambda r: not r.eax & 0x1F)
_topology_levels = _until(lambda r: not r.ecx >> 8 & 0xFF)
_SUBLEAVES: dict[int, Callable[[int, Registers], Iterator[int]]] = {
    0x4: _cache_levels,
    0x7: _up_to_eax,
    0xB: _topology_levels,
    0xD: _xstate,
    0xF: lambda _, first: _bits_of(first.edx),
    0x10: lambda _, first: _bits_of(first.ebx),
    0x12: _sgx,
    0x14: _up_to_eax,
    0x17: _up_to_eax,
    0x18: _up_to_eax,
    0x1B: _until(lambda r: not r.eax & 0xFFF),
    0x1D: _up_to_eax,
    0x1E: _up_to_eax,
    0x1F: _topology_levels,
    0x20: _up_to_eax,
    0x23: lambda _, first: _bits_of(first.eax),
    0x24: _up_to_eax,
    0x8000_001D: _cache_levels,
    0x8000_0020: lambda _, first: _bits_of(first.ebx),
    0x8000_0026: _topology_levels,
}
