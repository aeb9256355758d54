"""REGS, VCPU_EVENTS, MP_STATE, DEBUGREGS and LAPIC of a vCPU, as far as a restore needs them.

What one GET returned, a SET of the same, and a second GET after it, must agree; before the first
SET it is the state after reset.  Shaped like arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl.  Leaves out
pending events, and every value once the guest ran.  The vector and error code of an exception that
is neither injected nor pending have no effect, but KVM keeps and shows them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.fields import VCPU_EVENTS
from kvmprobe.abi.numbers import U32_MAX, EventFlag, KvmExit
from kvmprobe.model import vendor
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.doubt import after_sipi
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.init_signal import TAKE_INIT, taken
from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.model.run import run_until
from kvmprobe.model.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine, Vcpu


# SDM vol.1 §3.4.3 "EFLAGS Register"
_RFLAGS_VM = 1 << 17
_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp")
_RUNNABLE = 0
# linux/kvm.h: UNINITIALIZED, INIT_RECEIVED, HALTED, SIPI_RECEIVED, AP_RESET_HOLD
_INIT_RECEIVED, _SIPI_RECEIVED = 2, 4
_LAPIC_STATES = frozenset({1, _INIT_RECEIVED, 3, _SIPI_RECEIVED, 9})
# KVM_GET_VCPU_EVENTS never has EventFlag.SIPI_VECTOR.
_EVENTS_VALID = int(EventFlag.NMI_PENDING | EventFlag.SHADOW | EventFlag.SMM)
_MAY_BE_SET = _EVENTS_VALID | EventFlag.SIPI_VECTOR.value
# Of an exception that is neither injected nor pending; KVM keeps and shows them all the same.
_LAST_EXCEPTION = frozenset({"exception_nr", "exception_error_code"})
COVERED_EVENTS = _LAST_EXCEPTION | {"sipi_vector"}
"""The members of ``struct kvm_vcpu_events`` that the model has a rule for, but for its flags."""
# kvm_exception_is_soft: #BP and #OF, which GET does not show; vector 2 is the NMI
_SOFT_VECTORS, _NMI_VECTOR, _LARGEST_VECTOR = frozenset({3, 4}), 2, 31
# SDM vol.3 table 10-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT";
# EDX, the processor's signature there, is 600H while there is no CPUID: x86.c:
# kvm_vcpu_reset.  §12.4.7.1 "Local APIC State After Power-Up or Reset".
RESET: Mapping[State, Mapping[str, int]] = {
    State.REGS: {
        **dict.fromkeys(_GENERAL, 0),
        "rdx": 0x600,
        **{f"r{nr}": 0 for nr in range(8, 16)},
        "rip": 0xFFF0,
        "rflags": 0x2,
    },
    State.EVENTS: {**dict.fromkeys(VCPU_EVENTS, 0), "flags": _EVENTS_VALID},
    State.MP_STATE: {"mp_state": _RUNNABLE},
    State.DEBUGREGS: {
        **{f"db{nr}": 0 for nr in range(4)},
        "dr6": 0xFFFF_0FF0,
        "dr7": 0x400,
        "flags": 0,
    },
    State.LAPIC: {"id": 0, "tpr": 0, "dfr": 0xFFFF_FFFF, "svr": 0xFF},
}


CREATE_IRQCHIP = Rule(
    "KVM_CREATE_IRQCHIP gives later vCPUs a local APIC",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vm_ioctl"),),
)


def create_irqchip(machine: Machine, vm_name: str = "vm") -> Step:
    """KVM_CREATE_IRQCHIP: before the first vCPU, and once.

    :see: arch/x86/kvm/x86.c: kvm_arch_vm_ioctl
    """
    vm = machine.vm(vm_name)
    if vm.irqchip:
        return Step(machine, Failed(errno.EEXIST), CREATE_IRQCHIP)
    if vm.vcpu_ids:
        return Step(machine, Failed(errno.EINVAL), CREATE_IRQCHIP)
    return Step(machine.with_vm(vm_name, vm._replace(irqchip=True)), Done(), CREATE_IRQCHIP)


GET_STATE = Rule(
    "a GET ioctl returns what was set, or the state after reset",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_reset"),
    ),
)


def get_state(machine: Machine, vcpu_name: str, state: State) -> Step:
    """Read one kind of state, and keep it for a later SET.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
    """
    rule = TAKE_INIT if machine.vcpu(vcpu_name).init_pending else GET_STATE
    machine = machine.with_vcpu(vcpu_name, taken(machine.vcpu(vcpu_name)))
    if state is State.MP_STATE:
        machine = _with_sipi_taken(machine, vcpu_name)
    vcpu = machine.vcpu(vcpu_name)
    if state is State.LAPIC and not vcpu.lapic:
        return Step(machine, Failed(errno.EINVAL), GET_STATE)
    values = known(vcpu, state)
    kept = machine._replace(saved={**machine.saved, state: values})
    unkept = values.get("rflags", 0) & _RFLAGS_VM
    if not unkept or vendor.has_virtual_8086(machine.host):
        return Step(kept, Done(fields=values), rule)
    done = Done(fields=values, open_fields={"rflags": unkept}, freedom=Freedom.VIRTUAL_8086)
    return Step(kept, done, rule)


def _with_sipi_taken(machine: Machine, vcpu_name: str) -> Machine:
    """Return the machine after a pending SIPI started the vCPU, or came to nothing.

    :see: arch/x86/kvm/lapic.c: kvm_apic_accept_events
    """
    vcpu = machine.vcpu(vcpu_name)
    if not vcpu.sipi_pending:
        return machine
    vcpu = vcpu._replace(sipi_pending=False)
    if vcpu.state[State.MP_STATE]["mp_state"] == _INIT_RECEIVED:
        machine = after_sipi(machine)
        vcpu = vcpu._replace(state={**vcpu.state, State.MP_STATE: RESET[State.MP_STATE]})
    return machine.with_vcpu(vcpu_name, vcpu)


SET_STATE = Rule(
    "a SET ioctl accepts what the GET ioctl returned",
    ("INV-19",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_x86_set_debugregs"),
        KernelSource(KernelFile.KVM_LAPIC, "kvm_apic_accept_events"),
    ),
)


def set_state(machine: Machine, vcpu_name: str, state: State, changes: Mapping[str, int]) -> Step:
    """Restore what the last GET returned, with some values changed.

    The flags say which events are valid; they and the SIPI vector are not kept.  A SIPI starts the
    vCPU when KVM_GET_MP_STATE finds it in the state INIT_RECEIVED, also if that was set later, with
    an RIP and a CS that the model does not follow.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl, kvm_vcpu_ioctl_x86_set_debugregs;
        arch/x86/kvm/lapic.c: kvm_apic_accept_events
    """
    values = {**machine.saved.get(state, {}), **changes}
    return set_values(machine, vcpu_name, state, values)


def set_values(machine: Machine, vcpu_name: str, state: State, given: Mapping[str, int]) -> Step:
    """Set one kind of state.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl, sync_regs
    """
    vcpu, values = machine.vcpu(vcpu_name), dict(given)
    if _refused(vcpu, state, values):
        return refuse_state(machine, vcpu_name, state, values)
    if state is State.EVENTS:
        values |= {name: RESET[state][name] for name in ("flags", "sipi_vector")}
    if "rflags" in values:
        values["rflags"] |= RESET[State.REGS]["rflags"]
    if values.get("mp_state") == _SIPI_RECEIVED:
        values["mp_state"] = _INIT_RECEIVED
        vcpu = vcpu._replace(sipi_pending=True)
    vcpu = vcpu._replace(state={**vcpu.state, state: values})
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(), SET_STATE)


def refuse_state(machine: Machine, vcpu_name: str, state: State, given: Mapping[str, int]) -> Step:
    """Refuse values; with values that the model has no rule for, a kernel may accept them.

    With a defect of the kernel, a refused KVM_SET_VCPU_EVENTS has set the events.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl, kvm_vcpu_ioctl_x86_set_vcpu_events
    """
    late = Behaviour.EVENTS_SET_BEFORE_CHECK in machine.host.behaviours
    if late and state is State.EVENTS:
        vcpu = machine.vcpu(vcpu_name)
        values = {**known(vcpu, state), **set_before_check(given)}
        vcpu = vcpu._replace(state={**vcpu.state, state: values})
        machine = machine.with_vcpu(vcpu_name, vcpu)
    return Step(machine, Failed(errno.EINVAL), SET_STATE)


def set_before_check(given: Mapping[str, int]) -> Mapping[str, int]:
    """Return what KVM_GET_VCPU_EVENTS shows of events that the last check of a SET refuses.

    Only events that need no flag; none if an earlier check refuses them.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_vcpu_events
    """
    nr = given.get("exception_nr", 0)
    illegal = nr > _LARGEST_VECTOR or nr == _NMI_VECTOR
    if given["flags"] & ~_MAY_BE_SET != EventFlag.TRIPLE_FAULT or (
        given.get("exception_injected") and illegal
    ):
        return {}
    injected = given.get("exception_injected") and nr not in _SOFT_VECTORS
    interrupted = given.get("interrupt_injected") and not given.get("interrupt_soft")
    kept = {name: given[name] for name in (*_LAST_EXCEPTION, "interrupt_nr") if name in given}
    return kept | {
        "exception_injected": int(bool(injected)),
        "exception_has_error_code": int(bool(given.get("exception_has_error_code"))),
        "interrupt_injected": int(bool(interrupted)),
        "nmi_injected": int(bool(given.get("nmi_injected"))),
        "nmi_masked": int(bool(given.get("nmi_masked"))),
    }


def known(vcpu: Vcpu, state: State) -> Mapping[str, int]:
    """Return the values that are certain: none once the guest ran, until an INIT.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_reset
    """
    return {} if vcpu.entered else {**RESET[state], **vcpu.state.get(state, {})}


RUN_UNTIL_PORT = Rule(
    "KVM_RUN until OUT loads and saves the guest FPU",
    ("INV-36",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_run"),
        KernelSource(KernelFile.KVM_X86, "kvm_fast_pio_out"),
    ),
)


def run_until_port(machine: Machine, vcpu_name: str) -> Step:
    """KVM_RUN of a guest whose first instruction is OUT; with a local APIC, HLT would not exit.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run, kvm_fast_pio_out
    """
    return run_until(machine, vcpu_name, KvmExit.IO, RUN_UNTIL_PORT)


def _refused(vcpu: Vcpu, state: State, values: Mapping[str, int]) -> bool:
    match state:
        case State.MP_STATE:
            legal = {_RUNNABLE, *(_LAPIC_STATES if vcpu.lapic else ())}
            return values.get("mp_state") not in legal
        case State.DEBUGREGS:
            beyond = any(values.get(name, 0) > U32_MAX for name in ("dr6", "dr7"))
            return beyond or bool(values.get("flags"))
        case State.EVENTS:
            return bool(values["flags"] & ~_MAY_BE_SET)
        case State.LAPIC:
            return not vcpu.lapic
        case _:
            return False
