"""The named values in what a call moves."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import fields, ioctls, tables
from kvmprobe.abi.numbers import KvmExit, msr_name
from kvmprobe.xstate.layout import MXCSR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.abi.layout import TableFormat

Members = dict[str, int]
_IMAGES = frozenset({ioctls.GET_XSAVE, ioctls.GET_XSAVE2, ioctls.SET_XSAVE})
_IMAGE_FIELDS = (*fields.XSAVE_HEADER, fields.Field("MXCSR", MXCSR.start, 4))
_REGISTERS = ("eax", "ebx", "ecx", "edx")


def is_image(spec: IoctlSpec) -> bool:
    """Return True if a call moves an XSAVE image."""
    return spec in _IMAGES


def structure_of(spec: IoctlSpec) -> str:
    """Return the name of what a call moves; calls that get and set it have the same."""
    if is_image(spec):
        return ioctls.KVM_XSAVE.name
    return spec.argument.name if spec.argument else ""


def members_of(spec: IoctlSpec, content: bytes) -> Members:
    """Return the values in a structure by their names; those beyond its bytes are left out."""
    argument = spec.argument
    if argument is None:
        return {}
    if is_image(spec):
        return _read(fields.places(_IMAGE_FIELDS), content)
    if argument is ioctls.KVM_LAPIC_STATE:
        return _read(fields.places(fields.KVM_LAPIC), content)
    of_table = _OF_TABLES.get(argument.name)
    return of_table(content) if of_table else _read(argument.numbers, content)


def run_members(area: bytes) -> Members:
    """Return why a KVM_RUN returned, from ``struct kvm_run``."""
    shift = ioctls.KVM_RUN_HEAD.offset("exit_reason")
    places = {field.name: (shift + field.offset, field.code) for field in fields.KVM_RUN}
    members = _read(places, area)
    if members.get("exit_reason") != KvmExit.FAIL_ENTRY:
        members.pop("hardware_entry_failure_reason", None)
    return members


def _read(places: Mapping[str, tuple[int, str]], content: bytes) -> Members:
    return {
        name: struct.unpack_from(f"={code}", content, offset)[0]
        for name, (offset, code) in places.items()
        if offset + struct.calcsize(f"={code}") <= len(content)
    }


def _entries(table: TableFormat, content: bytes) -> list[tuple[int, ...]]:
    """Return the entries that are whole."""
    if len(content) < table.head.size:
        return []
    whole = (len(content) - table.head.size) // table.entry.size
    return list(table.entries(content, min(table.count(content), whole)))


def _msrs(content: bytes) -> Members:
    return {msr_name(index): data for index, data in _entries(tables.MSRS, content)}


def _xcrs(content: bytes) -> Members:
    return {f"XCR{number}": value for number, value in _entries(tables.XCRS, content)}


def _cpuid2(content: bytes) -> Members:
    members: Members = {}
    for leaf, subleaf, _, *registers in _entries(tables.CPUID2, content):
        for name, value in zip(_REGISTERS, registers, strict=True):
            members[f"{leaf:#x}.{subleaf}:{name}"] = value
    return members


def _cpuid(content: bytes) -> Members:
    members: Members = {}
    for leaf, *registers in _entries(tables.CPUID, content):
        for name, value in zip(_REGISTERS, registers, strict=True):
            members[f"{leaf:#x}:{name}"] = value
    return members


def _listed(content: bytes) -> Members:
    return {f"{msr_name(index)} listed": 1 for (index,) in _entries(tables.MSR_LIST, content)}


_OF_TABLES: Mapping[str, Callable[[bytes], Members]] = {
    tables.MSRS.head.name: _msrs,
    ioctls.KVM_XCRS.name: _xcrs,
    tables.CPUID2.head.name: _cpuid2,
    tables.CPUID.head.name: _cpuid,
    tables.MSR_LIST.head.name: _listed,
}
