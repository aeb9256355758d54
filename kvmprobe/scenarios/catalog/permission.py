"""Who may use XTILE_DATA, and who may give it to guests.

Default permission, requests, the effect of fork, exec and threads, what freezes guest permission,
and what a signal stack must hold.  In the orders ``p`` is a request for guest permission,
``v`` creates a VM, ``c`` a vCPU, ``u`` gives it KVM's table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap
from kvmprobe.scenarios.calls import KVM, MAIN, VCPU, VM, Relation
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CloseDescriptor, CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.permission import (
    GetGuestPermission,
    GetPermission,
    GetSupported,
    GetToNowhere,
    RequestGuestPermission,
    RequestPermission,
    UnknownOption,
)
from kvmprobe.scenarios.ops.process import (
    ContinueInChild,
    LimitOwnDescriptors,
    SetAltstack,
    SpawnTask,
)
from kvmprobe.scenarios.ops.system import CheckExtension
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

FAMILY = "permission"
TILES = XFeature.XTILE_DATA
_RELATIONS = THREAD, FORK, SHARED, EXEC = tuple(relation.value for relation in Relation)
_VM1, _VCPU1 = "vm1", "vcpu1"
_P = RequestGuestPermission(TILES)
_HOST_P = RequestPermission(TILES)
_VM_OPS: tuple[Op, ...] = (OpenKvm(), CreateVm())
_C = CreateVcpu()
_FOREIGN_NUMBERS = (*range(18), 19, 20, 63, 64, 1 << 32 | 18, (1 << 63) | 18, (1 << 64) - 1)
# Room for the default components' frame, but not for XTILE_DATA's 8 KiB; and for both.
_SMALL_STACK, _LARGE_STACK = 6144, 65536
# XTILE_DATA ends at 11008 bytes on every known processor; a frame is larger.
_FRAME_STATE = 11008
_BEYOND_IDS = (1 << 31) - 1


def bitmaps(by: str = MAIN) -> tuple[Op, ...]:
    """Return the ops that read both permissions."""
    return (GetPermission(by), GetGuestPermission(by))


def _spawn(relation: str) -> SpawnTask:
    return SpawnTask(relation, Relation(relation))


def _scenario(row: str, column: str, *ops: Op, watch: tuple[str, ...]) -> Scenario:
    """Read, after each op, the permissions of all watched tasks that exist."""
    steps, alive, watched = [], {MAIN}, tuple(dict.fromkeys(watch))
    for op in ops:
        if isinstance(op, SpawnTask):
            alive.add(op.task)
        seen = tuple(get for task in watched if task in alive for get in bitmaps(task))
        steps.append(ScenarioStep(op, seen))
    return Scenario(f"{FAMILY}.{row}.{column}", row, column, tuple(steps))


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:  # noqa: ARG001
    """Return the family; it is the same on every host."""
    return (*_requests(), *_inheritance(), *_locks(), *_altstacks(), *_orders())


def _requests() -> list[Scenario]:
    """Make each request with each kind of argument, in every task."""
    found = []
    for by in (MAIN, *_RELATIONS):
        spawned = (_spawn(by),) if by else ()
        who = by or "main"
        gets = [ScenarioStep(op) for op in spawned]
        gets += [ScenarioStep(op) for op in (GetSupported(by), *bitmaps(by))]
        codes = (c for c in ArchPrctlCode if c.name.startswith("GET"))
        gets += [ScenarioStep(GetToNowhere(code, by)) for code in codes]
        gets += [ScenarioStep(UnknownOption(option, by)) for option in (0x1020, 0x1026, 0)]
        found.append(Scenario(f"{FAMILY}.get.{who}", "get", who, tuple(gets)))
        for row, request in (("guest", RequestGuestPermission), ("host", RequestPermission)):
            refused = [request(nr, by) for nr in _FOREIGN_NUMBERS]
            asked = (*spawned, *refused, request(TILES, by), request(TILES, by), refused[0])
            name = f"request-{row}"
            found.append(_scenario(name, who, *asked, watch=(by, MAIN)))
    return found


def _inheritance() -> list[Scenario]:
    """Spawn a task from each state of permission; then it and its parent make requests."""
    before: dict[str, tuple[Op, ...]] = {
        "nothing": (),
        "guest": (_P,),
        "host": (_HOST_P,),
        "locked": (*_VM_OPS, _C),
        "granted-locked": (_P, _HOST_P, *_VM_OPS, _C),
    }
    found = []
    for by in _RELATIONS:
        asks = (RequestGuestPermission(TILES, by), RequestPermission(TILES, by), _P, _HOST_P)
        for column, ops in before.items():
            chain = (*ops, _spawn(by), *asks)
            row = f"inherit-{by}"
            found.append(_scenario(row, column, *chain, watch=(by, MAIN)))
    return found


def _locks() -> list[Scenario]:
    """Make calls that may freeze guest permission, and request it in every task."""
    close: tuple[Op, ...] = (CloseDescriptor(VCPU), CloseDescriptor(VM), CloseDescriptor(KVM))
    by_fork: tuple[Op, ...] = (
        CheckExtension(KvmCap.XSAVE2, by=FORK),
        CreateVcpu(_VCPU1, by=FORK),
        CreateVm(_VM1, FORK),
    )
    own_vm: tuple[Op, ...] = (CreateVm(_VM1, FORK), CreateVcpu(_VCPU1, _VM1, by=FORK))
    own_vm_of_child: tuple[Op, ...] = (CreateVm(_VM1), CreateVcpu(_VCPU1, _VM1))
    chains: dict[str, tuple[Op, ...]] = {
        "vm": _VM_OPS,
        "vcpu": (*_VM_OPS, _C),
        "vcpu-then-others": (*_VM_OPS, _C, RequestGuestPermission(3), RequestGuestPermission(64)),
        "granted-vcpu": (_P, *_VM_OPS, _C),
        "closed": (*_VM_OPS, _C, *close),
        "closed-granted": (_P, *_VM_OPS, _C, *close),
        "closed-forked": (*_VM_OPS, _C, *close, _spawn(FORK)),
        "closed-forked-used": (*_VM_OPS, *close[1:], _spawn(FORK), by_fork[0], by_fork[2]),
        "closed-behind-fork": (*_VM_OPS, _C, _spawn(FORK), *close, *by_fork),
        "closed-twice": (*_VM_OPS, *close[1:], *close[1:], _C, CreateVm(_VM1)),
        "closed-exec": (*_VM_OPS, _C, *close, _spawn(EXEC)),
        "thread-vcpu": (*_VM_OPS, _spawn(THREAD), CreateVcpu(by=THREAD)),
        "shared-mm-vcpu": (*_VM_OPS, _spawn(SHARED), CreateVcpu(by=SHARED)),
        "shared-mm-own-vm": (OpenKvm(), _spawn(SHARED), CreateVm(by=SHARED), _C),
        "fork-own-vm": (OpenKvm(), _spawn(FORK), *own_vm),
        "fork-refused": (*_VM_OPS, _spawn(FORK), CreateVcpu(by=FORK)),
        "in-child": (*_VM_OPS, _C, ContinueInChild()),
        "granted-in-child": (_P, *_VM_OPS, _C, ContinueInChild(), *own_vm_of_child),
        "forked-before": (*_VM_OPS, _spawn(FORK), _C),
        "bad-id": (*_VM_OPS, CreateVcpu(id=_BEYOND_IDS), CreateVcpu(id=(1 << 32) - 1)),
        "long-id": (*_VM_OPS, CreateVcpu(id=1 << 32)),
        "duplicate-own": (*_VM_OPS, _C, CreateVcpu(_VCPU1)),
        "duplicate-shared-mm": (*_VM_OPS, _spawn(SHARED), _C, CreateVcpu(_VCPU1, by=SHARED)),
        "no-descriptor-vm": (OpenKvm(), LimitOwnDescriptors(), CreateVm()),
        "no-descriptor-vcpu": (*_VM_OPS, LimitOwnDescriptors(), _C),
        "second-vm": (*_VM_OPS, _C, CreateVm(_VM1), CreateVcpu(_VCPU1, _VM1)),
    }
    found = []
    for column, ops in chains.items():
        tasks = (MAIN, *(op.task for op in ops if isinstance(op, SpawnTask)))
        asks = [RequestGuestPermission(TILES, task) for task in tasks]
        host_asks = [RequestPermission(TILES, task) for task in tasks]
        chain = (*ops, *asks, *host_asks)
        found.append(_scenario("lock", column, *chain, watch=tasks))
    return found


def _altstacks() -> list[Scenario]:
    """Request with stacks for smaller frames, and set such stacks after a grant."""
    small, large = SetAltstack(_SMALL_STACK), SetAltstack(_LARGE_STACK)
    thread_small = SetAltstack(_SMALL_STACK, THREAD)
    chains: dict[str, tuple[Op, ...]] = {
        "tiny": (*map(SetAltstack, (1024, 2047, 2048)), small, _HOST_P),
        "frame": (SetAltstack(_FRAME_STATE), _HOST_P, large, _HOST_P, SetAltstack(_FRAME_STATE)),
        "small": (small, _HOST_P, RequestPermission(3), large, _HOST_P, small),
        "small-guest": (small, _P, _P),
        "large": (large, _HOST_P, small, large),
        "granted": (_HOST_P, small, SetAltstack(1024), large, _HOST_P),
        "granted-guest": (_P, small, large),
        "thread": (_spawn(THREAD), thread_small, _HOST_P, RequestPermission(TILES, THREAD), _P),
        "thread-large": (_spawn(THREAD), thread_small, SetAltstack(_LARGE_STACK, THREAD), _HOST_P),
        "main-for-thread": (
            small,
            _spawn(THREAD),
            RequestPermission(TILES, THREAD),
            large,
            RequestPermission(TILES, THREAD),
            thread_small,
        ),
        "fork": (
            small,
            _spawn(FORK),
            RequestPermission(TILES, FORK),
            large,
            _HOST_P,
            SetAltstack(_LARGE_STACK, FORK),
            RequestPermission(TILES, FORK),
        ),
        "shared-mm": (
            small,
            _spawn(SHARED),
            RequestPermission(TILES, SHARED),
            _HOST_P,
            SetAltstack(_SMALL_STACK, SHARED),
            SetAltstack(_LARGE_STACK, SHARED),
        ),
        "exec": (
            small,
            _spawn(EXEC),
            RequestPermission(TILES, EXEC),
            _HOST_P,
            SetAltstack(_SMALL_STACK, EXEC),
            SetAltstack(_LARGE_STACK, EXEC),
        ),
        "granted-exec": (
            _HOST_P,
            _spawn(EXEC),
            SetAltstack(_SMALL_STACK, EXEC),
            RequestPermission(TILES, EXEC),
        ),
    }
    tasks = (MAIN, *_RELATIONS)
    return [_scenario("altstack", column, *ops, watch=tasks) for column, ops in chains.items()]


def _orders() -> list[Scenario]:
    """Put a request at each place among the calls that depend on it."""
    table, enable = GetSupportedCpuid(), SetCpuid2()
    size_kvm, size_vm = CheckExtension(KvmCap.XSAVE2), CheckExtension(KvmCap.XSAVE2, VM)
    sizes: tuple[Op, ...] = (size_kvm, size_vm)
    thread_p = RequestGuestPermission(TILES, THREAD)
    chains: dict[str, tuple[Op, ...]] = {
        "p-v-c-u": (_P, *_VM_OPS, *sizes, _C, table, enable, GetXsave2(), *sizes),
        "v-p-c-u": (*_VM_OPS, *sizes, _P, *sizes, _C, table, enable, GetXsave2()),
        "c-p-u": (*_VM_OPS, _C, _P, *sizes, table, enable, GetXsave2()),
        "p-c-p-u": (*_VM_OPS, _P, _C, _P, table, enable, GetXsave2()),
        "thread-p-c-u": (_spawn(THREAD), thread_p, *_VM_OPS, _C, table, enable, GetXsave2()),
        "c-thread-p": (*_VM_OPS, _C, _spawn(THREAD), thread_p, *sizes, table, enable),
        "thread-c-p": (*_VM_OPS, _spawn(THREAD), CreateVcpu(by=THREAD), _P, table, enable),
        "stale-table": (
            *_VM_OPS,
            table,
            _P,
            *sizes,
            _C,
            enable,
            GetXsave2(),
            table,
            enable,
            GetXsave2(),
        ),
        "host-p-c-u": (_HOST_P, *_VM_OPS, *sizes, _C, table, enable, GetXsave2()),
        "fork-p": (
            *_VM_OPS,
            _spawn(FORK),
            RequestGuestPermission(TILES, FORK),
            *sizes,
            CheckExtension(KvmCap.XSAVE2, by=FORK),
            CheckExtension(KvmCap.XSAVE2, VM, FORK),
        ),
        "shared-mm-p": (
            *_VM_OPS,
            _spawn(SHARED),
            RequestGuestPermission(TILES, SHARED),
            *sizes,
            CheckExtension(KvmCap.XSAVE2, by=SHARED),
            CheckExtension(KvmCap.XSAVE2, VM, SHARED),
        ),
        "shared-mm-p-c-u": (
            *_VM_OPS,
            _spawn(SHARED),
            RequestGuestPermission(TILES, SHARED),
            _C,
            GetSupportedCpuid(SHARED),
            enable,
            SetCpuid2(by=SHARED),
            *sizes,
            enable,
            GetXsave2(),
        ),
        "p-shared-mm": (
            *_VM_OPS,
            _P,
            _spawn(SHARED),
            *sizes,
            CheckExtension(KvmCap.XSAVE2, VM, SHARED),
            CreateVcpu(by=SHARED),
            table,
            enable,
        ),
    }
    tasks = (MAIN, *_RELATIONS)
    return [_scenario("order", column, *ops, watch=tasks) for column, ops in chains.items()]
