"""The state that the model keeps: processes, VMs, vCPUs, and what was captured."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.errors import ModelBug, NoVcpu
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable, Register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.cpuid_refresh import Refresh
    from kvmprobe.model.fpstate import Fpstate
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.memory import Region

MAIN = ""
U64_MAX = (1 << 64) - 1
# SDM vol.3 §11.1.1 "Processor State After Reset": CD, NW, ET.
CR0_RESET = 0x6000_0010


@dataclass(frozen=True)
class GuestCpuid:
    """A guest's CPUID table, and what it says of XSTATE.

    :ivar xcr0: 0xD.0:EDX:EAX
    :ivar xss: 0xD.1:EDX:ECX
    :ivar unspecified: registers, as (leaf, register), whose value is not known for certain
    """

    xcr0: int = 0
    xss: int = 0
    entries: tuple[CpuidEntry, ...] = ()
    unspecified: frozenset[tuple[int, Register]] = field(default=frozenset(), compare=False)

    def __hash__(self) -> int:
        return hash((self.xcr0, self.xss, self.table))

    @cached_property
    def table(self) -> CpuidTable:
        """The entries as a table."""
        return CpuidTable(self.entries)

    @classmethod
    def of(
        cls, table: CpuidTable, unspecified: frozenset[tuple[int, Register]] = frozenset()
    ) -> GuestCpuid:
        """Return what a table says."""
        return _guest_cpuid(table, unspecified)

    def has(self, leaf: int, subleaf: int, register: Register, bit: int) -> bool:
        """Return True if a feature bit is set; a missing leaf has none."""
        return self.table.has(leaf, subleaf, register, bit)


@lru_cache(maxsize=256)
def _guest_cpuid(table: CpuidTable, unspecified: frozenset[tuple[int, Register]]) -> GuestCpuid:
    return GuestCpuid(table.xcr0, table.xss, table.entries, unspecified)


class Process(NamedTuple):
    """One thread group, as far as permission goes.

    :ivar memory: name of the process whose memory (mm) it runs in
    :ivar files: name of the process whose descriptors it uses
    :ivar host_perm: what ARCH_GET_XCOMP_PERM returns
    :ivar guest_perm: what ARCH_GET_XCOMP_GUEST_PERM returns
    :ivar perm_locked: it has created a vCPU: guest_perm is frozen
    :ivar limited: it can open no more descriptors
    """

    memory: str
    host_perm: int
    guest_perm: int
    perm_locked: bool = False
    files: str = MAIN
    limited: bool = False


class Vm(NamedTuple):
    """One VM.

    :ivar memory: name of the process whose memory it belongs to; others' ioctls are refused
    :ivar vcpu_ids: those taken; a vCPU keeps its id when its descriptor is closed
    :ivar irqchip: it has an interrupt controller in the kernel, and its vCPUs a local APIC
    :ivar slots: guest memory
    :ivar max_vcpu_ids: vCPUs' ids are less than this; 0 if KVM_CAP_MAX_VCPU_ID was not enabled
    """

    memory: str = MAIN
    vcpu_ids: frozenset[int] = frozenset()
    irqchip: bool = False
    slots: Mapping[int, Region] = MappingProxyType({})
    max_vcpu_ids: int = 0


class Vcpu(NamedTuple):
    """One vCPU's registers and guest fpstate.

    :ivar cpuid: None before the first KVM_SET_CPUID2
    :ivar guest_xcr0: ``guest_supported_xcr0``
    :ivar guest_xss: ``guest_supported_xss``
    :ivar pkru: the guest's PKRU, which KVM keeps outside of the fpstate
    :ivar in_payload: its general registers are the guest payload's, no longer those after reset
    :ivar ran: the guest has been entered at least once
    :ivar entered: it has been entered since it was created or took an INIT
    :ivar init_pending: its local APIC has latched an INIT
    :ivar sipi_pending: a SIPI waits until its MP state is read
    :ivar vmxon: address of the VMXON region; U64_MAX outside VMX operation
    :ivar vmcs12: address of the current VMCS; U64_MAX without one
    :ivar in_l2: it executes a nested guest
    :ivar l2_exceptions: bitmap of the exceptions of that guest that exit to L1
    :ivar xfd_passthrough: the guest writes IA32_XFD without KVM (``xfd_no_write_intercept``)
    :ivar nm_missed: KVM does not intercept #NM outside a nested guest, and so misses IA32_XFD_ERR
    :ivar xfd_err_left: what is then left of it in the processor's MSR
    :ivar msrs: MSRs without a field of their own that were written
    :ivar ssp: the shadow stack pointer
    :ivar cpuid_refresh: what its table's values follow, on a kernel where this matters
    :ivar lapic: it has a local APIC in the kernel
    :ivar state: by ioctl, named values that were set and are not what they were at creation
    :ivar synced: by part, values that KVM last stored in the run area
    :ivar memory: name of the process whose memory it belongs to; others' ioctls are refused
    :ivar caller: the FPU registers of the thread that last loaded and saved its FPU state
    """

    fpstate: Fpstate
    cpuid: GuestCpuid | None = None
    guest_xcr0: int = 0
    guest_xss: int = 0
    pkru: int = 0
    xcr0: int = 1
    xss: int = 0
    xfd_err: int = 0
    cr0: int = CR0_RESET
    cr4: int = 0
    efer: int = 0
    in_payload: bool = False
    ran: bool = False
    entered: bool = False
    init_pending: bool = False
    sipi_pending: bool = False
    vmxon: int = U64_MAX
    vmcs12: int = U64_MAX
    in_l2: bool = False
    l2_exceptions: int = 0
    xfd_passthrough: bool = False
    nm_missed: bool = False
    xfd_err_left: int = 0
    msrs: Mapping[int, int] = MappingProxyType({})
    ssp: int = 0
    lapic: bool = False
    state: Mapping[str, Mapping[str, int]] = MappingProxyType({})
    synced: Mapping[str, Mapping[str, int]] = MappingProxyType({})
    memory: str = MAIN
    cpuid_refresh: Refresh | None = None
    caller: HostRegisters = HostRegisters.AS_THEY_ARE

    @property
    def xfd(self) -> int:
        """IA32_XFD, which is in the fpstate."""
        return self.fpstate.xfd


class Machine(NamedTuple):
    """A scenario's process, the processes it made, its VMs' vCPUs.

    :ivar host: comes first, because all states of a model run have the same
    :ivar tasks: the process that each task belongs to (a thread shares its creator's)
    :ivar altstacks: bytes of the alternate signal stack of each task that has one
    :ivar vms: by the name of their descriptors
    :ivar vcpus: by the name of their descriptors
    :ivar captured: CPUID tables that later calls refer to, by name
    :ivar saved: named values of vCPU state that later calls restore, by ioctl
    :ivar moved: vCPUs as they were when a part of them was saved, by vCPU and part
    :ivar closed: descriptors that were closed, as (process whose they are, name)
    :ivar payload: how often the guest payload was mapped in fresh memory
    :ivar doubt: parts of vCPUs' state that a call may have changed for which there is no rule
    :ivar registers: the FPU registers of the threads that make the calls
    """

    host: HostProfile
    processes: Mapping[str, Process]
    tasks: Mapping[str, str] = MappingProxyType({MAIN: MAIN})
    altstacks: Mapping[str, int] = MappingProxyType({})
    vms: Mapping[str, Vm] = MappingProxyType({})
    vcpus: Mapping[str, Vcpu] = MappingProxyType({})
    captured: Mapping[str, GuestCpuid] = MappingProxyType({})
    saved: Mapping[str, Mapping[str, int]] = MappingProxyType({})
    moved: Mapping[tuple[str, str], Vcpu] = MappingProxyType({})
    closed: frozenset[tuple[str, str]] = frozenset()
    payload: int = 0
    doubt: frozenset[str] = frozenset()
    registers: HostRegisters = HostRegisters.AS_THEY_ARE

    @classmethod
    def fresh(
        cls, host: HostProfile, registers: HostRegisters = HostRegisters.AS_THEY_ARE
    ) -> Machine:
        """Return the state of a freshly exec'ed process, whose threads have these registers."""
        return cls(host, {MAIN: fresh_process(host, MAIN)}, registers=registers)

    @property
    def guest_perm(self) -> int:
        """Guest permission of the scenario's own process."""
        return self.processes[MAIN].guest_perm

    @property
    def perm_locked(self) -> bool:
        """Whether that is frozen."""
        return self.processes[MAIN].perm_locked

    def process(self, task: str) -> Process:
        """Return the process that a task belongs to."""
        owner = self.tasks.get(task)
        if owner is None:
            raise ModelBug(f"no task {task!r}; the scenario never spawned it")
        return self.processes[owner]

    def threads(self, process: str) -> tuple[str, ...]:
        """Return the tasks that belong to a process."""
        return tuple(a for a, owner in self.tasks.items() if owner == process)

    def with_process(self, task: str, process: Process) -> Machine:
        """Return the machine with a task's process replaced."""
        return self._replace(processes={**self.processes, self.tasks[task]: process})

    def with_open(self, task: str, name: str) -> Machine:
        """Return the machine after a task has got a descriptor, perhaps of a name in use before."""
        place = (self.process(task).files, name)
        return self._replace(closed=self.closed - {place}) if place in self.closed else self

    def vm(self, name: str) -> Vm:
        """Return a VM; one that no step created is the scenario's own, without vCPUs."""
        return self.vms.get(name, Vm())

    def with_vm(self, name: str, vm: Vm) -> Machine:
        """Return the machine with one VM added or replaced."""
        return self._replace(vms={**self.vms, name: vm})

    def vcpu(self, name: str) -> Vcpu:
        """Return a vCPU that exists.

        :raises NoVcpu: no call created it
        """
        found = self.vcpus.get(name)
        if found is None:
            raise NoVcpu(f"no vCPU {name!r}; the scenario never created it")
        return found

    def with_vcpu(self, name: str, vcpu: Vcpu) -> Machine:
        """Return the machine with one vCPU added or replaced."""
        if self.vcpus.get(name) is vcpu:
            return self
        return self._replace(vcpus={**self.vcpus, name: vcpu})


def fresh_process(host: HostProfile, memory: str) -> Process:
    """Return a process as exec leaves it: default permission, no lock."""
    return Process(memory, host.default_permission, host.default_permission, files=memory)
