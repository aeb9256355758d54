"""The reference model: how a correct kernel keeps guest FPU state.  Layer: model, pure.

Immutable states in, immutable states and expected outcomes out.  It knows neither ops nor
/dev/kvm, and never asks which kernel runs: what legally differs, and what is a known defect, is a
named behaviour.

Public: what ``__all__`` names.  A function stands for a call of the kernel; it takes the machine
and returns a :class:`Step`: the machine after, the outcome to expect, the rule with its source.

>>> fresh = Machine.fresh(sapphire_rapids())
>>> granted = request_guest_permission(fresh, 18)
>>> granted.outcome
Done(value=0, fields={}, image=None, open_fields={}, memory=None, table=None, freedom=None)
>>> hex(fresh.guest_perm), hex(granted.machine.guest_perm)
('0x202e7', '0x602e7')

A kernel with a known defect is the same host with that behaviour:

>>> from dataclasses import replace
>>> defects = frozenset({Behaviour.XFD_WRITE_KEEPS_XSTATE_BV})
>>> defective = replace(sapphire_rapids(), behaviours=defects)
"""

from kvmprobe.model.behaviours import DEFECTS, Behaviour, Behaviours, variants
from kvmprobe.model.fpstate import Fpstate
from kvmprobe.model.fpu import get_fpu, set_fpu
from kvmprobe.model.guest_cpuid import get_cpuid2, set_cpuid2
from kvmprobe.model.host import HostProfile
from kvmprobe.model.lifecycle import create_vcpu, create_vm
from kvmprobe.model.machine import GuestCpuid, Machine, Process, Vcpu, Vm
from kvmprobe.model.msr import get_msrs, get_xfd, set_msrs, set_xfd, set_xfd_err
from kvmprobe.model.outcome import (
    Done,
    ExpectedBytes,
    ExpectedImage,
    ExpectedTable,
    Failed,
    HostDies,
    NewDescriptor,
    NotCovered,
    OneOf,
    Outcome,
    Step,
    Unspecified,
)
from kvmprobe.model.permission import (
    get_guest_permission,
    get_host_permission,
    request_guest_permission,
    request_host_permission,
)
from kvmprobe.model.run import run_immediate_exit, run_until_halt
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.model.sequence import in_sequence
from kvmprobe.model.sregs import set_cr4
from kvmprobe.model.uabi import get_xsave, get_xsave2, set_xsave
from kvmprobe.model.xcr import get_xcr0, set_xcr0, set_xcrs

__all__ = [
    "DEFECTS",
    "Behaviour",
    "Behaviours",
    "Done",
    "ExpectedBytes",
    "ExpectedImage",
    "ExpectedTable",
    "Failed",
    "Fpstate",
    "GuestCpuid",
    "HostDies",
    "HostProfile",
    "Machine",
    "NewDescriptor",
    "NotCovered",
    "OneOf",
    "Outcome",
    "Process",
    "Step",
    "Unspecified",
    "Vcpu",
    "Vm",
    "create_vcpu",
    "create_vm",
    "get_cpuid2",
    "get_fpu",
    "get_guest_permission",
    "get_host_permission",
    "get_msrs",
    "get_xcr0",
    "get_xfd",
    "get_xsave",
    "get_xsave2",
    "in_sequence",
    "request_guest_permission",
    "request_host_permission",
    "run_immediate_exit",
    "run_until_halt",
    "sapphire_rapids",
    "set_cpuid2",
    "set_cr4",
    "set_fpu",
    "set_msrs",
    "set_xcr0",
    "set_xcrs",
    "set_xfd",
    "set_xfd_err",
    "set_xsave",
    "variants",
]
