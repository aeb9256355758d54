"""Plainer sequences: the usual call for an unusual one, and the usual order of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.one_reg import msr_id
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.literal import SetCpuid2Template
from kvmprobe.scenarios.ops.msrs import SetMsrs, SetXfd
from kvmprobe.scenarios.ops.one_reg import SetOneReg
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave, GetXsave2, SetXsave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvmprobe.scenarios.ops import Op

# What needs neither guest code nor memory, a sleep, a second thread, or another call's output.
_BY_INTERFACE: Mapping[str, Callable[[str], Op]] = {
    "KVM_RUN": RunImmediateExit,
    "KVM_SET_CPUID": lambda _: SetCpuid2Template(()),
    "KVM_GET_XSAVE2": GetXsave2,
    "KVM_GET_XSAVE": lambda _: GetXsave(),
    "KVM_GET_FPU": lambda _: GetFpu(),
}
_BY_FIELD: Mapping[str, Callable[[Any, str], Op]] = {
    "xfd": SetXfd,
    "xcr0": SetXcrs,
    "xstate_bv": SetXsave,
}
# A vCPU is created with permission; then its state is restored as Thomas Gleixner's mail of
# 2021-12-13 asks: CPUID, XFD and XCR0 before XSTATE.
_ORDER = (
    "open",
    "ARCH_REQ_XCOMP_GUEST_PERM",
    "KVM_CREATE_VM",
    "KVM_SET_USER_MEMORY_REGION",
    "KVM_CREATE_VCPU",
    "KVM_GET_SUPPORTED_CPUID",
    "KVM_SET_CPUID2",
    "KVM_SET_MSRS",
    "KVM_SET_XCRS",
    "KVM_SET_XSAVE",
    "KVM_RUN",
)
_PLACES = {interface: place for place, interface in enumerate(_ORDER)}


def plainer_ops(op: Op) -> Iterator[Op]:
    """Yield usual calls that may have the effect of an op, those that need least first."""
    if op.interface in _BY_INTERFACE:
        yield _BY_INTERFACE[op.interface](op.descriptor)
    if isinstance(op, SetCpuid2):
        yield SetCpuid2Template(())
    if isinstance(op, SetMsrs):
        yield from (SetXfd(value) for index, value in op.entries if index == Msr.IA32_XFD)
    if isinstance(op, SetOneReg) and op.register_id == msr_id(Msr.IA32_XFD):
        yield SetXfd(op.value, op.vcpu)
    for field, usual in _BY_FIELD.items():
        if hasattr(op, field):
            yield usual(getattr(op, field), op.descriptor)


def usual_place(op: Op) -> int | None:
    """Return the place of an op in the usual order of a restore; None if it has none."""
    return _PLACES.get(op.interface)
