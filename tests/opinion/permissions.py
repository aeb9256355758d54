"""arch_prctl(2) and what follows from permission: CPUID, the size of an image (xstate.rst)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap
from kvmprobe.scenarios.calls import ArchPrctl, Immediate, Output
from tests.opinion import sdm
from tests.opinion.answer import NONE, Opinion, Part, Topic, is_one_of, little
from tests.opinion.state import ARMABLE, Process, Vcpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import Reply

_TILE_CONFIG = 1 << sdm.TILE_CONFIG
# Components that some kernels have a name for beyond XTILEDATA: APX, from 6.16.
_FIRST_UNKNOWN = 20
# struct kvm_cpuid2: nent, padding.
_HEAD = 8
_MOST_ENTRIES = 256
_ENTRY = struct.Struct("<7I")
_ADDRESS_SIZES = 0x8000_0008


def arch_prctl(process: Process, host: HostProfile, call: ArchPrctl) -> Opinion:
    """Answer a request for permission or a question for it."""
    match call.code, call.argument:
        case ArchPrctlCode.GET_XCOMP_SUPP, Output():
            return _bitmap(host.user_features)
        case ArchPrctlCode.GET_XCOMP_PERM, Output():
            return _bitmap(process.own)
        case ArchPrctlCode.GET_XCOMP_GUEST_PERM, Output():
            return _bitmap(process.guest)
        case ArchPrctlCode.REQ_XCOMP_PERM, Immediate(number):
            return _request_own(process, host, number)
        case ArchPrctlCode.REQ_XCOMP_GUEST_PERM, Immediate(number):
            return _request_for_guest(process, host, number)
        case _:
            return NONE


def _bitmap(value: int | None) -> Opinion:
    parts = () if value is None else (Part(Topic.PERMISSION, 0, little(value, 8)),)
    return Opinion(Topic.PERMISSION, frozenset({0}), parts)


def _not_to_be_asked_for(host: HostProfile, number: int) -> Opinion | None:
    """Return the refusal of a feature: only XTILEDATA is dynamic (xstate.rst)."""
    if number >= _FIRST_UNKNOWN:
        return is_one_of(Topic.PERMISSION, -errno.EINVAL)
    if number > sdm.TILE_DATA:
        return is_one_of(Topic.PERMISSION, -errno.EINVAL, -errno.EOPNOTSUPP)
    if number < sdm.TILE_DATA or not host.user_features & ARMABLE:
        return is_one_of(Topic.PERMISSION, -errno.EOPNOTSUPP)
    return None


def _request_own(process: Process, host: HostProfile, number: int) -> Opinion:
    refusal = _not_to_be_asked_for(host, number)
    if refusal is not None:
        return refusal
    if process.own is None:
        return NONE
    process.own |= ARMABLE
    return is_one_of(Topic.PERMISSION, 0)


def _request_for_guest(process: Process, host: HostProfile, number: int) -> Opinion:
    """Grant it before the first vCPU; then only what is already granted."""
    refusal = _not_to_be_asked_for(host, number)
    if refusal is not None:
        return refusal
    if process.guest is not None and process.guest & ARMABLE:
        return is_one_of(Topic.PERMISSION, 0)
    if process.frozen:
        known = process.guest is not None
        return is_one_of(Topic.PERMISSION, -errno.EBUSY) if known else NONE
    if process.guest is None or process.frozen is None:
        process.guest = None
        return NONE
    process.guest |= ARMABLE
    return is_one_of(Topic.PERMISSION, 0)


def _permitted(process: Process, host: HostProfile) -> int | None:
    """Return what KVM offers here: XTILECFG and XTILEDATA both or neither (SDM vol.1 13.3)."""
    if process.guest is None:
        return None
    offered = host.kvm_xcr0
    return offered if process.guest & ARMABLE else offered & ~(ARMABLE | _TILE_CONFIG)


def check_extension(process: Process, host: HostProfile, capability: int) -> Opinion:
    """Return the size of an image for KVM_CAP_XSAVE2 (api.rst 4.134), at least 4096 bytes."""
    permitted = _permitted(process, host)
    if capability != KvmCap.XSAVE2 or permitted is None:
        return NONE
    return is_one_of(Topic.PERMISSION, max(4096, sdm.area_size(permitted, host.layout)))


def get_supported_cpuid(process: Process, host: HostProfile, reply: Reply) -> Opinion:
    """Have XCR0's components in leaf 0xD, subleaf 0 (SDM vol.2 CPUID): EAX, EDX."""
    permitted = _permitted(process, host)
    if permitted is None or reply.result or reply.output is None:
        return NONE
    for place, (leaf, subleaf, *_) in _entries(reply.output):
        if (leaf, subleaf) == (0xD, 0):
            low, high = little(permitted, 8)[:4], little(permitted, 8)[4:]
            parts = (
                Part(Topic.PERMISSION, place + 12, low),
                Part(Topic.PERMISSION, place + 24, high),
            )
            return Opinion(Topic.PERMISSION, parts=parts)
    return NONE


def set_cpuid2(
    process: Process, vcpu: Vcpu, host: HostProfile, table: bytes | None, *, refused: bool
) -> Opinion:
    """Give the guest a table; XTILEDATA in it needs permission (xstate.rst).

    The FPU state stays: api.rst 4.65 names only the responses to CPUID.  A vCPU that has run takes
    its own table alone, which changes nothing here.

    :param refused: the call failed, perhaps for a reason that this model does not have
    """
    if vcpu.has_run or table is None or len(table) < _HEAD:
        return NONE if vcpu.has_run else _unknown_table(vcpu, refused=refused)
    (count,) = struct.unpack_from("<I", table)
    if count > _MOST_ENTRIES:
        return is_one_of(Topic.PERMISSION, -errno.E2BIG)
    entries = [entry for _, entry in _entries(table)]
    if len(entries) < count or _address_bits(entries) not in {0, 48, 57}:
        return _unknown_table(vcpu, refused=refused)
    wanted = next((e[3] | e[6] << 32 for e in entries if _is(e, 0xD)), 0)
    if wanted & ARMABLE and not vcpu.tiles:
        if process.guest is None or vcpu.tiles is None:
            return _unknown_table(vcpu, refused=refused)
        if not process.guest & ARMABLE:
            return is_one_of(Topic.PERMISSION, -errno.EPERM)
        vcpu.tiles = True
    vcpu.offered = wanted & host.kvm_xcr0
    return is_one_of(Topic.PERMISSION, 0)


def _unknown_table(vcpu: Vcpu, *, refused: bool) -> Opinion:
    if not refused:
        vcpu.offered = vcpu.tiles = None
    return NONE


def _address_bits(entries: list[tuple[int, ...]]) -> int:
    return next((e[3] >> 8 & 0xFF for e in entries if _is(e, _ADDRESS_SIZES)), 0)


def _is(entry: tuple[int, ...], leaf: int) -> bool:
    """Return True for the leaf's subleaf 0, or for a leaf without subleaves (api.rst 4.65)."""
    significant = entry[2] & 1
    return entry[0] == leaf and (not significant or entry[1] == 0)


def _entries(table: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield offset and leaf, subleaf, flags, EAX, EBX, ECX, EDX of ``struct kvm_cpuid2``."""
    (count,) = struct.unpack_from("<I", table)
    for place in range(8, min(8 + 40 * count, len(table) - 39), 40):
        yield place, _ENTRY.unpack_from(table, place)
