"""The variables of a program: descriptors, run areas, guest memory, outputs, captured outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.repro import chunks
from kvmprobe.repro.ctext import Names, identifier
from kvmprobe.scenarios.calls import (
    Captured,
    DuringRun,
    Ioctl,
    MapPayload,
    OpenKvm,
    Output,
    Relation,
    RunGuest,
    RunVcpu,
    Spawn,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.scenarios.calls import Call

_SEPARATE = frozenset({Relation.FORK, Relation.EXEC})
_ALIGNMENT = 64


class Environment:
    """Declares the variables that a scenario's calls use.

    :ivar names: identifiers taken so far
    :ivar descriptors: the variable of each descriptor, by its name in the scenario
    :ivar run_areas: the variable of the run area of each vCPU that runs
    :ivar memories: the variable of the memory of each payload
    :ivar tasks: the variable of each task
    :ivar kept: the buffer of each captured output
    :ivar kept_sizes: the size of each of these buffers
    :ivar shared_size: size of the memory that the program shares with its child processes
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self.names = Names(chunks.reserved())
        self.shared_size = 0
        self._separate = any(isinstance(c, Spawn) and c.relation in _SEPARATE for c in calls)
        self._declared: list[str] = []
        self.descriptors = {
            name: self._declare(name, "static int {} = -1;") for name in _descriptors(calls)
        }
        self.run_areas = {
            name: self._declare(f"{name} run", "static struct kvm_run *{};")
            for name in sorted(
                {c.on for c in calls if isinstance(c, RunVcpu | RunGuest | DuringRun)}
            )
        }
        self.memories = {
            name: self._declare(f"{name} memory", "static uint8_t *{};")
            for name in dict.fromkeys(c.binds for c in calls if isinstance(c, MapPayload))
        }
        self.tasks = {
            c.binds: self._declare(f"task {c.binds}", "static struct task {};")
            for c in calls
            if isinstance(c, Spawn)
        }
        if self.run_areas:
            self._declared.append("static size_t run_size;")
        self.kept = {name: self.output(f"kept {name}", size) for name, size in _kept(calls)}
        self.kept_sizes = dict(_kept(calls))

    @property
    def declarations(self) -> str:
        """All declarations, as C."""
        return "\n".join(self._declared)

    def output(self, preferred: str, size: int) -> str:
        """Declare a buffer of ``size`` bytes."""
        if not self._separate:
            return self._declare(preferred, f"static uint8_t {{}}[{size}];")
        place, self.shared_size = self.shared_size, self.shared_size + -(-size // _ALIGNMENT) * 64
        return self._declare(preferred, f"#define {{}} (shared + {place})")

    def output_pointer(self, preferred: str) -> str:
        """Declare a pointer to a buffer that a call allocates."""
        return self._declare(preferred, "static uint8_t *{};")

    def _declare(self, preferred: str, form: str) -> str:
        name = self.names.fresh(identifier(preferred))
        self._declared.append(form.format(name))
        return name


def _descriptors(calls: Iterable[Call]) -> list[str]:
    found: dict[str, None] = {}
    for call in calls:
        on = getattr(call, "on", "")
        binds = call.binds if isinstance(call, Ioctl | OpenKvm) else ""
        found |= dict.fromkeys(name for name in (on, binds) if name)
    return list(found)


def _kept(calls: Iterable[Call]) -> list[tuple[str, int]]:
    """Return the captured outputs that are used, each with its largest size."""
    used = {
        c.argument.name for c in calls if isinstance(c, Ioctl) and isinstance(c.argument, Captured)
    }
    sizes: dict[str, int] = {}
    for call in calls:
        if isinstance(call, Ioctl) and isinstance(call.argument, Output):
            output = call.argument
            if output.capture in used:
                sizes[output.capture] = max(sizes.get(output.capture, 0), output.size)
    return list(sizes.items())
