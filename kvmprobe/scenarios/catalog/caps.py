"""KVM_ENABLE_CAP of a VM and of a vCPU: flags, arguments, before and after vCPUs are created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.model.enabled_cap import NEVER, OF_VCPU, OF_VM
from kvmprobe.scenarios.catalog._starts import ASK, NO_AMX
from kvmprobe.scenarios.ops.enabled_cap import EnableCap
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.vcpu_state import CreateIrqchip, GetLapic, GetMpState, GetVcpuEvents
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_VM, _VCPU = "vm", "vcpu0"
_FLAGS = (1, 1 << 31, U32_MAX)
_READ: tuple[Op, ...] = (GetXsave2(), GetVcpuEvents())


def _scenario(row: str, column: str, *ops: Op, reading: tuple[Op, ...] = ()) -> Scenario:
    steps = []
    made = False
    for op in ops:
        made = made or isinstance(op, CreateVcpu)
        steps.append(ScenarioStep(op, reading if made else ()))
    return Scenario(f"cap.{row}.{column}", row, column, tuple(steps))


def _part(capability: int) -> str:
    return Capability(capability).name.lower().replace("_", "-")


def _values(capability: int) -> tuple[int, ...]:
    """Return nothing, each bit at the edge of what is accepted, and the edges of what is not."""
    accepted, refused = OF_VM[capability]
    bits = (accepted & -accepted, accepted, refused & -refused, 1 << 63 & refused, refused)
    return tuple(dict.fromkeys((0, *bits)))


def _of_vm(capability: int) -> Scenario:
    tried = [EnableCap(capability, value) for value in _values(capability)]
    tried += [EnableCap(capability, flags=flags) for flags in _FLAGS]
    tried.append(EnableCap(capability, rest=(1 << 64) - 1))
    begin = (OpenKvm(), CreateVm(), MapHalt())
    late = (CreateVcpu(), *NO_AMX, *tried, RunUntilHalt())
    early = () if capability == Capability.SPLIT_IRQCHIP else tried
    return _scenario("vm", _part(capability), *begin, *early, *late, reading=_READ)


def _of_vcpu(chip: str, *create: Op) -> Scenario:
    known = (*OF_VCPU, Capability.HYPERV_SYNIC2) if not create else tuple(OF_VCPU)
    tried = [EnableCap(cap, on=_VCPU) for cap in (*known, *OF_VM, *sorted(NEVER))]
    tried += [EnableCap(cap, flags=flags, on=_VCPU) for cap in known for flags in _FLAGS]
    values = (1, 1 << 63, (1 << 64) - 1, 0)
    tried += [EnableCap(cap, value, on=_VCPU) for cap in OF_VCPU for value in values]
    begin = (OpenKvm(), CreateVm(), *create, CreateVcpu())
    return _scenario("vcpu", chip, *begin, *tried, *NO_AMX, *tried, reading=_READ)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:  # noqa: ARG001
    """Return each capability by itself, then what the limits of a VM mean for later calls."""
    strange = [EnableCap(cap) for cap in (*sorted(NEVER), *OF_VCPU, Capability.HYPERV_SYNIC)]
    split, limit = Capability.SPLIT_IRQCHIP, Capability.MAX_VCPU_ID
    begin = (OpenKvm(), CreateVm())
    again = (EnableCap(split), CreateIrqchip())
    other = CreateVcpu("vcpu1", id=1)
    return (
        *map(_of_vm, OF_VM),
        _of_vcpu("no-irqchip"),
        _of_vcpu("irqchip", CreateIrqchip()),
        _scenario("vm", "unknown", *begin, *strange, CreateVcpu(), *strange, reading=_READ),
        _scenario(
            "order",
            "split-irqchip",
            *(*begin, *(EnableCap(split, value) for value in _values(split)[2:])),
            *(EnableCap(split, 24), *again, CreateVcpu(), *again, SetXsave(FPSSE)),
            reading=(GetLapic(), GetMpState(), GetXsave2()),
        ),
        _scenario("order", "irqchip-then-split", *begin, CreateIrqchip(), *again, CreateVcpu()),
        _scenario("order", "vcpu-then-split", *begin, CreateVcpu(), *again, GetLapic()),
        _scenario(
            "order",
            "max-vcpu-id",
            *(*begin, EnableCap(limit, 1), EnableCap(limit, 2), EnableCap(limit, 1)),
            *(other, ASK, CreateVcpu(), other, ASK, EnableCap(limit), EnableCap(limit, 1)),
        ),
    )
