"""Places on this host, and calls that a test of the worker needs and no scenario has."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import psutil

from kvmprobe.abi.numbers import RESET_PAGE, RESET_VECTOR
from kvmprobe.execution.driver import Timing
from kvmprobe.execution.place import Risk, ThisHost
from kvmprobe.model.outcome import Done, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.scenarios.calls import Ioctl, Literal, MapMemory, OpenKvm, RunVcpu
from kvmprobe.scenarios.ops import Op
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm
from kvmprobe.scenarios.ops.lifecycle import OpenKvm as OpenKvmOp
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

RULE = Rule("a call returns 0", (), (KernelSource(KernelFile.SYS, "none"),))
JMP_SELF = b"\xeb\xfe"


# Why scenarios are left out on a host: the codes that "reason" begins with in a record.
REASONS_TO_SKIP = {
    "no_amx_cpu",
    "no_amx_kvm",
    "no_cet_kvm",
    "no_guest_code",
    "no_nested_vmx",
    "no_userfaultfd",
    "one_cpu",
}


@dataclass(frozen=True, slots=True)
class RawCall(Op):
    """Any lowered call; the model expects 0 of it."""

    call: OpenKvm | Ioctl | MapMemory | RunVcpu
    name = "raw"
    interface = kernel_call = "raw call"
    on_kinds = ()
    usual_descriptor = ""
    output_fields = {}  # noqa: RUF012

    def lower(self, host):
        return self.call

    def transition(self, machine):
        return Step(machine, Done(), RULE)


def sequence(name, *ops):
    steps = tuple(ScenarioStep(op) for op in ops)
    return Scenario(name, name, "", steps, needs=frozenset())


# The guest jumps to itself, so KVM_RUN returns only for a signal.
ENDLESS = sequence(
    "test.endless",
    OpenKvmOp(),
    CreateVm(),
    RawCall(MapMemory("vm", 0, RESET_PAGE, bytes(RESET_VECTOR) + JMP_SELF)),
    CreateVcpu(),
    RawCall(RunVcpu("vcpu0", 0)),
)
# 64 different images of 11 KiB: more than a pipe holds, each way.
FLOOD = sequence(
    "test.flood",
    *(OpenKvmOp(), CreateVm(), CreateVcpu(), GetSupportedCpuid(), SetCpuid2()),
    *(
        op
        for chosen in product((0, 0x1), (0, 0x2), (0, 0x4), (0, 0x20), (0, 0x40), (0, 0x80))
        for op in (SetXsave(sum(chosen)), GetXsave2())
    ),
)
# An ioctl on a descriptor that no call has opened: a mistake of the scenario, not of the kernel.
MISTAKEN = sequence("test.mistaken", RawCall(Ioctl(0xAE80, "vcpu0", Literal(b""))))


@dataclass
class WatchedHost:
    """This host, with every link remembered."""

    device: str = "/dev/kvm"
    timing: Timing = field(default_factory=Timing)
    links: list = field(default_factory=list)
    risk = Risk.REAL

    @property
    def target(self):
        return ThisHost().target

    def recall(self):
        return None

    def remember(self, recorded):
        return None

    def open(self):
        link = ThisHost(self.device).open()
        self.links.append(link)
        return link


def quick(seconds):
    """Deadlines short enough for a test that lets one pass."""
    return replace(Timing(), scenario=seconds)


def child_of(pid):
    """The one process that runs a scenario for a worker, once it is there."""
    worker = psutil.Process(pid)
    while not (children := [c for zygote in worker.children() for c in zygote.children()]):
        pass
    return children[0]


def freezer():
    """A new group of the freezer of cgroup v1, or None where there is none.

    A task frozen by it sleeps uninterruptibly and cannot be killed before it is thawed:
    Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst
    """
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if kind == "cgroup" and "freezer" in options.split(","):
            return Path(tempfile.mkdtemp(prefix="kvmprobe-test-", dir=folder))
    return None
