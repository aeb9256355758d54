"""Traits of a scenario that do not need the model: its ops and its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.scenario import Need

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_NEED_NAMES = {
    Need.AMX: "amx",
    Need.CET: "cet",
    Need.GUEST_CODE: "guest-code",
    Need.NESTED_VMX: "nested-vmx",
    Need.PRIVILEGE: "privilege",
    Need.TWO_CPUS: "two-cpus",
}


def needs(scenario: Scenario) -> tuple[str, ...]:
    """Return its needs, by short names."""
    return tuple(name for need, name in _NEED_NAMES.items() if need in scenario.needs)


def tags(scenario: Scenario) -> tuple[str, ...]:
    """Return its family, its needs and the relations of its tasks to its own process."""
    tasks = (op.relation.value for _, op in scenario.ops() if isinstance(op, SpawnTask))
    return tuple(dict.fromkeys((scenario.family, *needs(scenario), *tasks)))


def all_tags(scenarios: Iterable[Scenario]) -> tuple[str, ...]:
    """Return all tags that scenarios of these families can have."""
    families = dict.fromkeys(scenario.family for scenario in scenarios)
    return (*families, *_NEED_NAMES.values(), *(relation.value for relation in Relation))


def op_names(scenario: Scenario) -> tuple[str, ...]:
    """Return the names of its ops and observers, each once, in the order they are issued."""
    return tuple(dict.fromkeys(op.name for _, op in scenario.ops()))


def names_of(op: type[Op]) -> frozenset[str]:
    """Return the names of an op, normalised by :func:`op_key`.

    ``set-xsave`` is SET_XSAVE, KVM_SET_XSAVE; ``guest-xgetbv`` is also KVM_RUN(XGETBV), KVM_RUN.
    """
    spoken = {op.name, op.interface, op.kernel_call}
    return frozenset(op_key(name) for text in spoken for name in (text, text.removeprefix("KVM_")))


def op_key(name: str) -> str:
    """Return a normalised name: upper case, ``-`` as ``_``."""
    return name.upper().replace("-", "_")
