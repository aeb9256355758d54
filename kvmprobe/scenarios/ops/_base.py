"""What every op offers, and the registry of ops by name."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

from kvmprobe.abi.errnos import meaning
from kvmprobe.abi.ioctls import Descriptor, IoctlSpec
from kvmprobe.errors import ScenarioError
from kvmprobe.model.doubt import judged
from kvmprobe.model.outcome import Step
from kvmprobe.model.process import OTHER_MEMORY, denied
from kvmprobe.scenarios.calls import KVM, MAIN, VCPU, VM, Argument, Ioctl
from kvmprobe.scenarios.need import ANYWHERE, Needs
from kvmprobe.scenarios.op_fields import Wrong, kinds, limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu
    from kvmprobe.model.rule import Rule, Source
    from kvmprobe.scenarios.calls import Call
    from kvmprobe.scenarios.requirement import Requirement

Places = Mapping[str, tuple[int, str]]
"""Named values in an output: byte offset, and format as ``struct`` has it (no byte order)."""

_USUAL = {Descriptor.KVM: ("", KVM), Descriptor.VM: ("vm", VM), Descriptor.VCPU: ("vcpu", VCPU)}


class Op(ABC):
    """One step of a test: a call for the kernel, and a transition of the model."""

    name: ClassVar[str]
    interface: ClassVar[str]
    """The system call or ioctl; for several, the part that their names share."""
    kernel_call: ClassVar[str]
    """The same with the operand, if every op of the class has the same one."""
    rules: ClassVar[tuple[Rule, ...]]
    """What a correct kernel does; ``step`` names the one that applies."""
    errnos: ClassVar[tuple[int, ...]]
    """The ones that the model returns; ``abi.errnos`` has their meanings."""
    output_fields: ClassVar[Places]
    keeps: ClassVar[str] = ""
    """The name under which its output is kept for later ops."""
    on_kinds: ClassVar[tuple[Descriptor, ...]]
    """The kinds of descriptor for the call; empty for a call without a descriptor."""
    usual_descriptor: ClassVar[str]
    """The name of the descriptor if no field has it; empty for a call without a descriptor."""
    descriptor_field: ClassVar[str] = ""
    """The field with the name of the descriptor, if there is one."""
    requires: ClassVar[tuple[Requirement, ...]] = ()
    """What must hold after the ops before it; see ``domain``."""
    needs: ClassVar[Needs] = ANYWHERE
    """What a target must have."""
    takes_init: ClassVar[bool] = False
    """The vCPU takes a pending INIT; no other op of a vCPU is judged while one is pending."""
    in_vmx_operation: ClassVar[bool] = False
    """The answer does not depend on whether the vCPU is in VMX operation."""

    @abstractmethod
    def lower(self, host: HostProfile) -> Call:
        """Return the kernel call; images take their layout from ``host``."""

    @abstractmethod
    def transition(self, machine: Machine) -> Step:
        """Return the model's transition and expectation, for a descriptor that may be used."""

    def step(self, machine: Machine) -> Step:
        """Return the model's transition and expectation.

        :see: virt/kvm/kvm_main.c: kvm_vm_ioctl, kvm_vcpu_ioctl
        """
        refusal = denied(machine, self.descriptor, self.caller)
        if refusal:
            return Step(machine, refusal, OTHER_MEMORY)
        step, reason = self.transition(machine), self.not_covered(machine)
        if (not reason and not machine.doubt) or self.certain(machine):
            return step
        return judged(step, self.interface, reason) if Descriptor.VCPU in self.on_kinds else step

    @property
    def descriptor(self) -> str:
        """The name of the descriptor that the call is made on: from a field, or the usual one."""
        if self.descriptor_field:
            name: str = getattr(self, self.descriptor_field)
            return name
        return self.usual_descriptor

    @property
    def caller(self) -> str:
        """The task that makes the call."""
        name: str = getattr(self, "by", MAIN)
        return name

    @property
    def of_payload(self) -> bool:
        """Whether the registers that it gives literally are the payload's between two commands."""
        return False

    @property
    def kinds_here(self) -> tuple[Descriptor, ...]:
        """The kinds of descriptor for this call."""
        return self.on_kinds

    @property
    def binds(self) -> str:
        """The name that the call gives to a new descriptor."""
        return ""

    @property
    def binds_kind(self) -> Descriptor | None:
        """The kind of that descriptor."""
        return None

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        """Return why the model does not cover these values here; empty if it does."""
        return ""

    def not_covered(self, machine: Machine) -> str:  # noqa: ARG002
        """Return what the model has no rule for, so that only checkers judge the result."""
        return ""

    def certain(self, machine: Machine) -> bool:  # noqa: ARG002
        """Return True if the model knows the result whatever is in doubt."""
        return False

    @classmethod
    def sources(cls) -> tuple[Source, ...]:
        """Return the sources of its rules, each once."""
        return tuple(dict.fromkeys(source for rule in cls.rules for source in rule.sources))

    def unknown_in_vmx(self, vcpu: Vcpu) -> str:  # noqa: ARG002
        """Return why the model does not cover it for a vCPU in VMX operation; empty if it does."""
        known = self.in_vmx_operation
        return "" if known else "the vCPU is in VMX operation, of which the model knows little"

    @property
    def places(self) -> Places:
        """The places of named values in the output; a value that ``read`` searches for has none."""
        return self.output_fields

    def read(self, output: bytes) -> Mapping[str, int]:
        """Return the named values in the output: by default those that have a place."""
        return {
            name: struct.unpack_from(f"={code}", output, offset)[0]
            for name, (offset, code) in self.places.items()
        }

    @classmethod
    def errno_meanings(cls) -> Mapping[int, str]:
        """Return the meaning of each errno that the model knows."""
        return {number: meaning(cls.interface, number) for number in cls.errnos}

    @property
    def call_name(self) -> str:
        """The name of the system call or ioctl, without arguments."""
        return self.interface

    @property
    def text(self) -> str:
        """The op in one line, as reports show it."""
        return self.kernel_call


class FixedOp(Op):
    """An op whose call is the same on every host."""

    @abstractmethod
    def call(self) -> Call:
        """Return the kernel call."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        return self.call()


class _IoctlOp(Op):
    spec: ClassVar[IoctlSpec]

    def specification(self) -> IoctlSpec:
        """Return the ioctl."""
        return self.spec

    def _with(self, argument: Argument) -> Ioctl:
        number = self.specification().number
        return Ioctl(number, self.descriptor, argument, self.binds, self.caller)


class FixedIoctl(_IoctlOp):
    """An ioctl whose argument is the same on every host."""

    @abstractmethod
    def argument(self) -> Argument:
        """Return the ioctl's argument."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        return self._with(self.argument())


class TriedIoctl(FixedIoctl):
    """An ioctl that the catalogue also tries by itself (``catalog/vmm.py``)."""

    reading: ClassVar[tuple[Op, ...]] = ()
    """The ops that read what it has set."""

    @classmethod
    def row(cls) -> str:
        """Return the name of its state in scenario ids."""
        return cls.name.removeprefix("set-")

    @classmethod
    def tries(cls) -> tuple[Op, ...]:
        """Return what to try: by default the op's defaults, then the limits of each field."""
        edges = ((name, value) for name, kind in kinds(cls).items() for value in limits(kind))
        return (cls(), *(cls(**{name: value}) for name, value in edges))


class HostIoctl(_IoctlOp):
    """An ioctl whose argument takes its layout from the host."""

    @abstractmethod
    def argument(self, host: HostProfile) -> Argument:
        """Return the ioctl's argument."""

    def lower(self, host: HostProfile) -> Call:
        return self._with(self.argument(host))


def _hashed_once(compute: Callable[[Any], int]) -> Callable[[Any], int]:
    """Return a hash function that keeps its result: an op is looked up many times a run."""

    def hashed(op_value: Op) -> int:
        known: int | None = op_value.__dict__.get("_hash")
        if known is None:
            known = op_value.__dict__["_hash"] = compute(op_value)
        return known

    return hashed


def _descriptor_field(cls: type[Op]) -> str:
    """Return ``on``, or else the field that its kind of descriptor usually has."""
    if not cls.on_kinds:
        return ""
    named = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    candidates = ("on", _USUAL[cls.on_kinds[0]][0])
    return next((name for name in candidates if name in named), "")


def patches(spec: IoctlSpec, values: Iterable[tuple[str, int]]) -> tuple[tuple[int, bytes], ...]:
    """Return the bytes of some members of an ioctl's structure, by their offset."""
    places = spec.argument.numbers if spec.argument else {}
    return tuple(
        (places[name][0], struct.pack(f"={places[name][1]}", value)) for name, value in values
    )


_REGISTRY: dict[str, type[Op]] = {}
_O = TypeVar("_O", bound=Op)


@dataclass_transform(frozen_default=True)
def op(  # noqa: PLR0913 - all but the first three by name
    name: str,
    call: IoctlSpec | str,
    *rules: Rule,
    on: Descriptor | tuple[Descriptor, ...] = (),
    requires: tuple[Requirement, ...] = (),
    needs: Needs = ANYWHERE,
    operand: str = "",
    errnos: tuple[int, ...] = (),
    output: Places | None = None,
) -> Callable[[type[_O]], type[_O]]:
    """Make a class a frozen dataclass, and register it as an op.

    :param call: the ioctl, or the symbolic name of another call
    :param rules: the model's, the most important one first
    :param on: the kinds of descriptor for the call; by default the ioctl's
    :param requires: what must hold after the ops before it
    :param needs: what a target must have
    :param operand: of every op of the class: ``XGETBV`` in ``KVM_RUN(XGETBV)``
    :param errnos: the ones that the model returns; ``abi.errnos`` has their meanings
    :param output: named values in the output
    """

    def register(cls: type[_O]) -> type[_O]:
        if name in _REGISTRY:
            raise ScenarioError(f"two ops are named {name}")
        made = dataclass(frozen=True, slots=True)(cls)
        made.__hash__ = _hashed_once(made.__hash__)  # type: ignore[assignment]
        made.name, made.rules, made.errnos = name, rules, errnos
        made.on_kinds = (on,) if isinstance(on, Descriptor) else on
        made.output_fields = output or {}
        made.requires, made.needs = requires or cls.requires, needs or cls.needs
        if isinstance(call, IoctlSpec):
            made.spec = call  # type: ignore[attr-defined]
            made.on_kinds = made.on_kinds or (call.on,)
        made.descriptor_field = _descriptor_field(made)
        made.usual_descriptor = _USUAL[made.on_kinds[0]][1] if made.on_kinds else ""
        made.interface = call.name if isinstance(call, IoctlSpec) else call
        made.kernel_call = f"{made.interface}({operand})" if operand else made.interface
        _REGISTRY[name] = made
        return made

    return register


def registry() -> Mapping[str, type[Op]]:
    """Return all ops by name."""
    return dict(_REGISTRY)


def encode(op_value: Op) -> dict[str, Any]:
    """Return an op as data for JSON."""
    values = {n: k.dump(getattr(op_value, n)) for n, k in kinds(type(op_value)).items()}
    return {"op": op_value.name, **values}


def decode(data: Mapping[str, Any]) -> Op:
    """Return the op that :func:`encode` wrote.

    :raises ScenarioError: unknown op, or fields that do not fit it
    """
    values = dict(data)
    name = values.pop("op", None)
    if name not in _REGISTRY:
        raise ScenarioError(f"unknown op {name!r}; known: {', '.join(sorted(_REGISTRY))}")
    allowed = kinds(_REGISTRY[name])
    try:
        return _REGISTRY[name](**{n: allowed[n].load(value) for n, value in values.items()})
    except KeyError as unknown:
        raise ScenarioError(f"op {name}: no field {unknown}") from unknown
    except (TypeError, Wrong) as error:
        raise ScenarioError(f"op {name}: {error}") from error
