"""What a target must have for a scenario to make sense there."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.scenarios.ops import Op


class Need(Enum):
    """What a target must have for a scenario to make sense there."""

    AMX = "KVM gives guests XTILE_DATA"
    CET = "KVM gives guests shadow stacks, IBT and CET state in IA32_XSS"
    GUEST_CODE = "guest code in long mode runs"
    NESTED_VMX = "KVM gives guests VMX"
    TWO_CPUS = "two CPUs"
    PRIVILEGE = "userfaultfd(2) of faults in the kernel"


Needs = frozenset[Need]
ANYWHERE: Needs = frozenset()
AMX: Needs = frozenset({Need.AMX})
GUEST_CODE: Needs = frozenset({Need.GUEST_CODE})
NESTED_VMX: Needs = frozenset({Need.NESTED_VMX})
TWO_CPUS: Needs = frozenset({Need.TWO_CPUS})
PRIVILEGE: Needs = frozenset({Need.PRIVILEGE})


def needs_of(ops: Iterable[Op]) -> Needs:
    """Return what a target must have to make these calls."""
    return ANYWHERE.union(*(op.needs for op in ops))
