"""The names of recorded calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.recordings.lines import Permission, Run
from kvmprobe.vmm.follow import vcpu_name

if TYPE_CHECKING:
    from kvmprobe.recordings.entries import Entry


def place_name(entry: Entry) -> str:
    """Return the vCPU of a call as the model names it, or else the object or process."""
    name = vcpu_name(entry.target)
    if name or entry.target:
        return name or (entry.target.id if entry.target else "")
    return f"process {getattr(entry.line, 'process', 0)}"


def described(entry: Entry) -> str:
    """Return the name of a call, with the capability that it asks for."""
    name, argument = call_name(entry), getattr(entry.line, "argument", -1)
    if entry.spec != ioctls.CHECK_EXTENSION or argument not in set(Capability):
        return name
    return f"{name}(KVM_CAP_{Capability(argument).name})"


def call_name(entry: Entry) -> str:
    """Return the name of a call, a permission or a run."""
    line = entry.line
    if isinstance(line, Permission):
        known = line.code in set(ArchPrctlCode)
        return f"ARCH_{ArchPrctlCode(line.code).name}" if known else f"arch_prctl {line.code:#x}"
    if isinstance(line, Run):
        return ioctls.RUN.name
    return entry.spec.name if entry.spec else f"request {getattr(line, 'request', 0):#x}"
