"""What KVM reports to each process, and the lifetime of VMs, vCPUs and their descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KvmCap
from kvmprobe.scenarios.calls import KVM, MAIN, VCPU, VM, Relation
from kvmprobe.scenarios.ops.bad_pointer import (
    KVM_IOCTLS,
    VCPU_IOCTLS,
    VM_IOCTLS,
    IoctlToNowhere,
    PointerIoctl,
)
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid
from kvmprobe.scenarios.ops.lifecycle import CloseDescriptor, CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.process import ContinueInChild, LimitOwnDescriptors, SpawnTask
from kvmprobe.scenarios.ops.system import (
    CheckExtension,
    GetDeviceAttr,
    GetDeviceAttrToNowhere,
    GetEmulatedCpuid,
    GetEmulatedCpuidPadded,
    GetMsrIndexList,
    GetMsrIndexListShort,
    GetSupportedCpuidShort,
    HasDeviceAttr,
)
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

FAMILY = "system"
_VM1, _VCPU1, _VCPU2 = "vm1", "vcpu1", "vcpu2"
_ASK = RequestGuestPermission(XFeature.XTILE_DATA)
_VM_OPS: tuple[Op, ...] = (OpenKvm(), CreateVm())
_VCPU_OPS: tuple[Op, ...] = (*_VM_OPS, CreateVcpu())
_USERS = (Relation.THREAD.value, Relation.FORK.value, Relation.SHARED_MM.value)
# Attributes that no kernel has; group 1 is for SEV on AMD.
_NO_ATTRIBUTES = ((0, 1), (0, (1 << 64) - 1), (1, 1), (2, 0), ((1 << 32) - 1, 0))
_MOST_ENTRIES = 256
# In a scenario of their own, which came later: those of the others stay as they were recorded.
_ALONE = (
    PointerIoctl.SET_CPUID,
    PointerIoctl.GET_FPU,
    PointerIoctl.SET_FPU,
    PointerIoctl.GET_SREGS2,
    PointerIoctl.SET_SREGS2,
    PointerIoctl.GET_MP_STATE,
    PointerIoctl.SET_MP_STATE,
    PointerIoctl.GET_DEBUGREGS,
    PointerIoctl.SET_DEBUGREGS,
    PointerIoctl.GET_VCPU_EVENTS,
    PointerIoctl.SET_VCPU_EVENTS,
)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:  # noqa: ARG001
    """Return the family; it is the same on every host."""
    return (*_extensions(), *_lists(), *_vcpus(), *_descriptors())


def _scenario(row: str, column: str, *ops: Op) -> Scenario:
    steps = tuple(ScenarioStep(op) for op in ops)
    return Scenario(f"{FAMILY}.{row}.{column}", row, column, steps)


def _spawn(relation: str) -> SpawnTask:
    return SpawnTask(relation, Relation(relation))


def _all_extensions(by: str = MAIN) -> tuple[Op, ...]:
    return tuple(CheckExtension(cap, on, by) for on in (KVM, VM) for cap in KvmCap)


def _extensions() -> list[Scenario]:
    """Capabilities and the attribute, for all tasks, before and after the permission request."""
    attributes: tuple[Op, ...] = (HasDeviceAttr(), GetDeviceAttr(), GetSupportedCpuid())
    found = [
        _scenario("extensions", "main", *_VM_OPS, *_all_extensions(), _ASK, *_all_extensions()),
        _scenario("extensions", "vcpu", *_VCPU_OPS, *_all_extensions(), _ASK, *_all_extensions()),
        _scenario("attribute", "supported", OpenKvm(), *attributes, _ASK, *attributes),
        _scenario("attribute", "flags", OpenKvm(), HasDeviceAttr(flags=1), GetDeviceAttr(flags=1)),
        _scenario("attribute", "to-nowhere", OpenKvm(), GetDeviceAttrToNowhere(), GetDeviceAttr()),
    ]
    for by in _USERS:
        ask = RequestGuestPermission(XFeature.XTILE_DATA, by)
        before = (*_VM_OPS, _spawn(by), *_all_extensions(by), ask)
        found.append(_scenario("extensions", by, *before, *_all_extensions(by), *_all_extensions()))
    refused = [
        op
        for group, attr in _NO_ATTRIBUTES
        for op in (
            HasDeviceAttr(attr, group),
            GetDeviceAttr(attr, group),
            GetDeviceAttrToNowhere(attr, group),
        )
    ]
    return [*found, _scenario("attribute", "unknown", OpenKvm(), *refused)]


def _lists() -> list[Scenario]:
    """MSR indices and CPUID tables, with enough room, with too little, and with padding."""
    emulated = [GetEmulatedCpuid(room) for room in (0, 1, 2, 3, 4, _MOST_ENTRIES)]
    padded = [GetEmulatedCpuidPadded(room) for room in (0, 1, 3, _MOST_ENTRIES)]
    supported = [GetSupportedCpuidShort(room) for room in (0, 1, 8)]
    short = [GetMsrIndexListShort(room) for room in (0, 1, 2)]
    listed = GetMsrIndexList()
    return [
        _scenario("cpuid", "emulated", OpenKvm(), *emulated, _ASK, *emulated[-1:]),
        _scenario("cpuid", "emulated-padded", OpenKvm(), *padded),
        _scenario("cpuid", "supported-short", OpenKvm(), *supported, _ASK, *supported),
        _scenario("msr-list", "whole", OpenKvm(), listed, _ASK, listed),
        _scenario("msr-list", "short", OpenKvm(), *short),
    ]


def _vcpus() -> list[Scenario]:
    """Ids of vCPUs, and several VMs and vCPUs."""
    beyond = (1 << 14, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
    refused = (CreateVcpu(_VCPU1, id=number) for number in beyond)
    long_ids = (CreateVcpu(_VCPU1, id=number) for number in ((1 << 64) - 1, (1 << 32) + 5))
    return [
        _scenario("vcpu", "id-beyond", *_VM_OPS, *refused, CreateVcpu()),
        _scenario("vcpu", "id-long", *_VM_OPS, *long_ids, CreateVcpu()),
        _scenario("vcpu", "id-taken", *_VCPU_OPS, CreateVcpu(_VCPU1), CreateVcpu(_VCPU1, id=1)),
        _scenario("vcpu", "id-taken-closed", *_VCPU_OPS, CloseDescriptor(VCPU), CreateVcpu(_VCPU1)),
        _scenario(
            "vcpu",
            "several",
            *_VCPU_OPS,
            CreateVcpu(_VCPU1, id=200),
            CreateVm(_VM1),
            CreateVcpu(_VCPU2, _VM1),
            CreateVcpu(_VCPU1, _VM1, id=0),
            *(_touch(PointerIoctl.GET_XCRS, name) for name in (VCPU, _VCPU1, _VCPU2)),
        ),
        _scenario(
            "vcpu",
            "outlives-vm",
            *_VCPU_OPS,
            CloseDescriptor(VM),
            CloseDescriptor(KVM),
            _touch(PointerIoctl.SET_CPUID2, VCPU),
            CreateVcpu(_VCPU1, id=1),
            CreateVm(_VM1),
        ),
    ]


def _touch(ioctl: PointerIoctl, on: str, by: str = MAIN) -> IoctlToNowhere:
    return IoctlToNowhere(ioctl, on, by)


def _all_ioctls(by: str = MAIN) -> list[Op]:
    places = ((KVM, KVM_IOCTLS), (VM, VM_IOCTLS), (VCPU, VCPU_IOCTLS))
    return [_touch(ioctl, on, by) for on, those in places for ioctl in those if ioctl not in _ALONE]


def _descriptors() -> list[Scenario]:
    """Who may use a descriptor: a null pointer gives EFAULT to those who may."""
    close: tuple[Op, ...] = tuple(CloseDescriptor(name) for name in (VCPU, VM, KVM))
    fork = Relation.FORK.value
    found = [
        _scenario("descriptor", by or "main", *_VCPU_OPS, *spawned, *_all_ioctls(by))
        for by, spawned in ((MAIN, ()), *((by, (_spawn(by),)) for by in _USERS))
    ]
    shared = Relation.SHARED_MM.value
    twin = (*_VCPU_OPS, _spawn(shared), *close, *_all_ioctls(shared))
    return [
        *found,
        _scenario("nowhere", "vcpu", *_VCPU_OPS, *(_touch(ioctl, VCPU) for ioctl in _ALONE)),
        _scenario("descriptor", "closed", *_VCPU_OPS, *close, *_all_ioctls(), *close),
        _scenario("descriptor", "closed-shared-mm", *twin),
        _scenario(
            "descriptor", "closed-forked", *_VCPU_OPS, _spawn(fork), *close, *_all_ioctls(fork)
        ),
        _scenario("descriptor", "in-child", *_VCPU_OPS, ContinueInChild(), *_all_ioctls()),
        _scenario("descriptor", "none-left", LimitOwnDescriptors(), OpenKvm()),
        _scenario("descriptor", "none-left-vm", OpenKvm(), LimitOwnDescriptors(), CreateVm()),
        _scenario(
            "descriptor",
            "none-left-vcpu",
            *_VM_OPS,
            LimitOwnDescriptors(),
            CreateVcpu(),
            CreateVcpu(id=1 << 20),
        ),
    ]
