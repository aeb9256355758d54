"""What an attached file contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import ScenarioError

if TYPE_CHECKING:
    from kvmprobe.abi.numbers import KvmCap
    from kvmprobe.scenarios.literal_fields import CpuidChange
    from kvmprobe.xstate.cpuid import CpuidEntry


class Unreadable(ScenarioError):
    """A mistake in an attached file; the message begins with its place: a path, line or key."""

    def __init__(self, place: str, expected: str, found: str) -> None:
        super().__init__(f"{place}: expected {expected}, found {found}")


@dataclass(frozen=True, slots=True)
class Template:
    """A VMM's CPU template.

    :ivar changes: of what KVM supports in CPUID
    :ivar msrs: indices and values to set
    :ivar capabilities: those that the VMM requires of KVM
    :ivar left_out: what is not replayed, each by its path and with the reason
    """

    changes: tuple[CpuidChange, ...]
    msrs: tuple[tuple[int, int], ...]
    capabilities: tuple[KvmCap, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaves:
    """CPUID of one processor."""

    entries: tuple[CpuidEntry, ...]


@dataclass(frozen=True, slots=True)
class XsaveImage:
    """An XSAVE area in the standard format."""

    image: bytes


@dataclass(frozen=True, slots=True)
class Sregs:
    """``struct kvm_sregs`` or ``struct kvm_sregs2``, by its size."""

    content: bytes


Part = Template | Leaves | XsaveImage | Sregs
