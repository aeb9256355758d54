"""Several calls, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step


def in_sequence(machine: Machine, *calls: Callable[[Machine], Step]) -> tuple[Step, ...]:
    """Return what the kernel answers to each call in turn.

    :param calls: each takes the machine that the one before left
    :see: Documentation/virt/kvm/api.rst, which has no call that others may overtake

    >>> late, frozen = in_sequence(
    ...     Machine.fresh(sapphire_rapids()),
    ...     lambda machine: create_vcpu(machine, "vcpu"),
    ...     lambda machine: request_guest_permission(machine, 18),
    ... )
    >>> frozen.outcome
    Failed(errno=16, fields={})
    """
    steps: list[Step] = []
    for call in calls:
        step = call(machine)
        steps.append(step)
        machine = step.machine
    return tuple(steps)
