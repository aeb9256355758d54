"""The model's domain: which ops it can judge after which.

A scenario outside the domain is refused, not judged: the kernel may be right where the model is
wrong.  Names must be bound, a descriptor must be of the kind that the call is made on, and guest
code must be where the model expects it.
"""

from __future__ import annotations

import copy
import struct
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.errors import KvmprobeError, ScenarioError
from kvmprobe.model.machine import MAIN, U64_MAX, Machine
from kvmprobe.model.memory import payload_regions, reset_page
from kvmprobe.model.outcome import Done, Failed, NewDescriptor, NotCovered
from kvmprobe.model.state import State
from kvmprobe.scenarios.calls import (
    Captured,
    DuringRun,
    Ioctl,
    Literal,
    Output,
    Relation,
    RunGuest,
    Spawn,
)
from kvmprobe.scenarios.references import References
from kvmprobe.scenarios.requirement import Requirement
from kvmprobe.xstate.cpuid import Register

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from kvmprobe.abi.ioctls import Descriptor
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Step
    from kvmprobe.scenarios.calls import Call
    from kvmprobe.scenarios.model_run import ModelRun
    from kvmprobe.scenarios.ops import Op

_RESET, _SIPI = "reset", "after a SIPI"
# Documentation/virt/kvm/api.rst, KVM_EXIT_IO: only the next KVM_RUN makes the guest's state
# consistent.  It moves RIP beyond the OUT even if KVM_SET_REGS has been called meanwhile.
_OUT_PENDING = "OUT that KVM_RUN has not completed"
_ELSEWHERE = "where no op has put any"
# Members of struct kvm_regs that decide which instruction is executed, or how often.
_MOVING = frozenset({"rip", "rflags"})
_GIVEN = "given as a whole"
_REGS, _SREGS = "regs", "sregs"
_PARTS = {
    ioctls.GET_REGS.number: _REGS,
    ioctls.SET_REGS.number: _REGS,
    ioctls.GET_SREGS.number: _SREGS,
    ioctls.SET_SREGS.number: _SREGS,
    ioctls.GET_SREGS2.number: _SREGS,
    ioctls.SET_SREGS2.number: _SREGS,
}
_LONG_MODE = (0x8000_0001, 0, Register.EDX, 29)
_BREAKPOINTS = 0xFF


def judgeable(ops: Iterable[Op], host: HostProfile) -> bool:
    """Return True if the model can judge these ops, one after the other."""
    domain = Domain(host)
    try:
        for op in ops:
            domain.follow(op)
    except ScenarioError:
        return False
    return True


class Domain:
    """The state after the ops so far, as far as it determines whether the next one can be judged.

    :ivar machine: the model's state
    """

    def __init__(self, host: HostProfile, model_run: ModelRun | None = None) -> None:
        """Begin with a fresh process.

        :param model_run: of the same host, to share its steps; None to compute each anew
        """
        self.machine = Machine.fresh(host) if model_run is None else model_run.start
        self._host = host
        self._model_run = model_run
        self._references = References()
        # Descriptors by name, of each process that has its own.
        self._tables: dict[str, dict[str, Descriptor]] = {MAIN: {}}
        self._generations = Counter[str]()
        self._vm_of: dict[str, tuple[str, int]] = {}
        # Where the guest's code is, by the structure that RIP or CS comes from; the two must agree.
        self._code: dict[str, dict[str, str]] = {}
        self._kept_code: dict[str, str] = {}

    def copy(self) -> Domain:
        """Return the same state, to go on from with other ops."""
        other = copy.copy(self)
        other._references = self._references.copy()  # noqa: SLF001 - its own class
        other._tables = {name: dict(table) for name, table in self._tables.items()}  # noqa: SLF001
        other._generations = self._generations.copy()  # noqa: SLF001
        other._vm_of = dict(self._vm_of)  # noqa: SLF001
        other._code = {name: dict(places) for name, places in self._code.items()}  # noqa: SLF001
        other._kept_code = dict(self._kept_code)  # noqa: SLF001
        return other

    @property
    def code(self) -> Hashable:
        """Where each vCPU's code is: what decides, beside the model's state, what is possible."""
        places = (frozenset(found.items()) for found in (*self._code.values(), self._kept_code))
        return (*self._code, *places)

    def follow(self, op: Op) -> Step:
        """Check that the model can judge an op here, and add it.

        :raises ScenarioError: it cannot; the message says what the op needs
        """
        return self._added(op, *self._foreseen(op))

    def follow_change(self, op: Op) -> Step | None:
        """Do the same if the op changes the model's state; else return None.

        :raises ScenarioError: the model cannot judge it here
        """
        call, step = self._foreseen(op)
        return self._added(op, call, step) if step.machine != self.machine else None

    def _added(self, op: Op, call: Call, step: Step) -> Step:
        if not _surely_fails(step):
            self._references.bind(call)
        self.machine = step.machine
        self._bind(op, call, step)
        self._move(op, call, step)
        vcpu = self.machine.vcpus.get(op.descriptor)
        if vcpu is not None and vcpu.init_pending:
            self._code[op.descriptor] = {_REGS: _RESET, _SREGS: _RESET}
        return step

    def _foreseen(self, op: Op) -> tuple[Call, Step]:
        self._check(op)
        try:
            call = op.lower(self._host)
            self._references.check(call)
            self._check_registers(op, call)
            step = self._step(op)
        except ScenarioError:
            raise
        except (KvmprobeError, ArithmeticError, LookupError, ValueError, struct.error) as error:
            raise ScenarioError(f"{op.name}: {error}") from error
        return call, step

    def _step(self, op: Op) -> Step:
        shared = self._model_run
        return op.step(self.machine) if shared is None else shared.step(self.machine, op)

    def meets(self, op: Op) -> bool:
        """Return True if the op's requirements hold here; its names may be unbound."""
        try:
            self._check(op)
        except ScenarioError:
            return False
        return True

    def _check(self, op: Op) -> None:
        if op.caller not in self.machine.tasks:
            raise ScenarioError(
                f"{op.name}: no task is called {op.caller!r} here; spawn-task binds a task"
            )
        table = self._tables[self.machine.process(op.caller).files]
        if op.on_kinds:
            found = table.get(op.descriptor)
            wanted = " or ".join(kind.value for kind in op.kinds_here)
            if found is None:
                raise ScenarioError(self._no_descriptor(op, wanted))
            if found not in op.kinds_here:
                raise ScenarioError(
                    f"{op.name}: is made on a {wanted}, and {op.descriptor!r} is a {found.value}"
                )
        if op.binds:
            self._check_new_name(op, table)
        for requirement in op.requires:
            if not self._holds(requirement, op):
                raise ScenarioError(f"{op.name}: {requirement.value}")
        refused = self._blocked(op) or op.refused(self.machine)
        if refused:
            raise ScenarioError(f"{op.name}: {refused}")

    def _blocked(self, op: Op) -> str:
        vcpu = self.machine.vcpus.get(op.descriptor)
        if vcpu is not None and vcpu.init_pending and not op.takes_init:
            return "an INIT is pending, which get-mp-state or entering the guest takes"
        if vcpu is not None and vcpu.vmxon != U64_MAX:
            return op.unknown_in_vmx(vcpu)
        return ""

    def _no_descriptor(self, op: Op, wanted: str) -> str:
        who = f"task {op.caller!r} has" if op.caller else "there is"
        return (
            f"{op.name}: {who} no descriptor {op.descriptor!r} here; "
            f"it is made on a {wanted}, which {_BINDERS[op.kinds_here[0].name]} binds"
        )

    def _check_new_name(self, op: Op, table: Mapping[str, Descriptor]) -> None:
        others = [t for t in self._tables.values() if t is not table]
        if any(op.binds in other for other in others):
            raise ScenarioError(
                f"{op.name}: another process has a descriptor {op.binds!r}; choose a new name"
            )
        if table.get(op.binds, op.binds_kind) is not op.binds_kind:
            raise ScenarioError(
                f"{op.name}: {op.binds!r} is a {table[op.binds].value}; choose a new name"
            )

    def _check_registers(self, op: Op, call: Call) -> None:
        reads = isinstance(call, Ioctl) and call.number in _PARTS
        if reads and _SIPI in self._code.get(op.descriptor, {}).values():
            raise ScenarioError(f"{op.name}: needs registers that no SIPI has changed")

    def _bind(self, op: Op, call: Call, step: Step) -> None:
        if isinstance(step.outcome, NewDescriptor) and op.binds_kind:
            self._tables[self.machine.process(op.caller).files][op.binds] = op.binds_kind
            self._generations[op.binds] += 1
            if op.binds_kind is ioctls.Descriptor.VCPU:
                self._vm_of[op.binds] = (op.descriptor, self._generations[op.descriptor])
                self._code[op.binds] = {_REGS: _RESET, _SREGS: _RESET}
        if isinstance(call, Spawn):
            if call.relation is Relation.FORK:
                self._tables[call.binds] = dict(self._tables[MAIN])
            elif call.relation is Relation.EXEC:
                self._tables[call.binds] = {}

    def _move(self, op: Op, call: Call, step: Step) -> None:
        """Follow where registers, and so the guest's code, come from."""
        if not isinstance(step.outcome, Done):
            return
        if isinstance(call, RunGuest | DuringRun):
            code = _payload_code(self.machine)
            self._code[call.on] = {_REGS: code, _SREGS: code}
        elif isinstance(call, Ioctl) and call.number == ioctls.SET_MP_STATE.number:
            # arch/x86/kvm/lapic.c: kvm_apic_accept_events: a SIPI sets CS and RIP.
            if getattr(op, "mp_state", 0):
                self._code[call.on] = {_REGS: _SIPI, _SREGS: _SIPI}
        elif Requirement.OUT_CODE in op.requires:
            self._code[op.descriptor][_REGS] = _OUT_PENDING
        elif isinstance(call, Ioctl) and call.number in _PARTS:
            part = _PARTS[call.number]
            if isinstance(call.argument, Output):
                self._kept_code[call.argument.capture] = self._code[call.on][part]
            elif isinstance(call.argument, Literal):
                code = _payload_code(self.machine) if op.of_payload else _GIVEN
                self._code[call.on][part] = code
            elif isinstance(call.argument, Captured) and self._code[call.on][part] != _OUT_PENDING:
                moved = not _MOVING.isdisjoint(name for name, _ in getattr(op, "members", ()))
                # Where the model does not know that the read succeeded, it is not known either.
                kept = self._kept_code.get(call.argument.name, _ELSEWHERE)
                self._code[call.on][part] = _ELSEWHERE if moved else kept

    def _holds(self, requirement: Requirement, op: Op) -> bool:
        return self._holding[requirement](self, op)

    def _is_open(self, op: Op) -> bool:
        files = self.machine.process(op.caller).files
        return (files, op.descriptor) not in self.machine.closed

    def _has_halt_code(self, op: Op) -> bool:
        return self._has_code(op, "map-halt")

    def _has_out_code(self, op: Op) -> bool:
        return self._has_code(op, "map-out")

    def _has_code(self, op: Op, memory: str) -> bool:
        if set(self._code[op.descriptor].values()) != {_RESET}:
            return False
        vm, generation = self._vm_of[op.descriptor]
        slots = self.machine.vm(vm).slots
        region = reset_page(memory)
        return self._generations[vm] == generation and slots.get(region.slot) == region

    def _has_payload(self, op: Op) -> bool:
        if self.machine.doubt:
            return False
        code = set(self._code[op.descriptor].values())
        if code != {_RESET} and code != {_payload_code(self.machine)}:
            return False
        vm, generation = self._vm_of[op.descriptor]
        slots = self.machine.vm(vm).slots
        regions = payload_regions(self.machine.payload)
        return self._generations[vm] == generation and all(
            slots.get(region.slot) == region for region in regions
        )

    def _has_long_mode(self, op: Op) -> bool:
        cpuid = self.machine.vcpu(op.descriptor).cpuid
        return cpuid is not None and cpuid.has(*_LONG_MODE)

    def _is_runnable(self, op: Op) -> bool:
        return not self._state(op, State.MP_STATE).get("mp_state", 0)

    def _has_no_lapic(self, op: Op) -> bool:
        return not self.machine.vcpu(op.descriptor).lapic

    def _has_no_breakpoint(self, op: Op) -> bool:
        return not self._state(op, State.DEBUGREGS).get("dr7", 0) & _BREAKPOINTS

    def _state(self, op: Op, state: State) -> Mapping[str, int]:
        return self.machine.vcpu(op.descriptor).state.get(state, {})

    def _has_descriptors_left(self, op: Op) -> bool:
        return not self.machine.process(op.caller).limited

    def _is_boot_processor(self, op: Op) -> bool:
        return not self.machine.vm(op.descriptor).irqchip or getattr(op, "id", 0) == 0

    _holding: ClassVar[Mapping[Requirement, Callable[[Domain, Op], bool]]] = {
        Requirement.OPEN: _is_open,
        Requirement.HALT_CODE: _has_halt_code,
        Requirement.OUT_CODE: _has_out_code,
        Requirement.PAYLOAD: _has_payload,
        Requirement.LONG_MODE: _has_long_mode,
        Requirement.RUNNABLE: _is_runnable,
        Requirement.NO_LAPIC: _has_no_lapic,
        Requirement.NO_BREAKPOINT: _has_no_breakpoint,
        Requirement.DESCRIPTORS_LEFT: _has_descriptors_left,
        Requirement.BOOT_PROCESSOR: _is_boot_processor,
    }


def _surely_fails(step: Step) -> bool:
    outcome = step.outcome
    return isinstance(outcome.example if isinstance(outcome, NotCovered) else outcome, Failed)


def _payload_code(machine: Machine) -> str:
    # Each command ends at the same OUT: RIP is the same after any of them.
    return f"payload {machine.payload}"


_BINDERS = {"KVM": "open-kvm", "VM": "create-vm", "VCPU": "create-vcpu"}
