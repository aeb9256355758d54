"""Which op keeps the output that another one writes back."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from kvmprobe.scenarios.op_fields import Choice, kinds
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.relations.reads import capture
from kvmprobe.search.values import VCPUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.scenarios.op_fields import Kind
    from kvmprobe.scenarios.ops import Op


@cache
def keepers() -> Mapping[str, Op]:
    """Return an op for each output that an op can write back, by the name of the output."""
    reads = [c for c in registry().values() if c.interface.startswith("KVM_GET_")]
    return {capture(op): op for op_class in reads for op in _forms(op_class) if capture(op)}


def _forms(op_class: type[Op]) -> Iterator[Op]:
    """Yield an op for each choice and each vCPU; fields of other kinds have their defaults."""
    varied = {name: _members(name, kind) for name, kind in kinds(op_class).items()}
    varied = {name: members for name, members in varied.items() if members}
    for values in product(*varied.values()):
        try:
            yield op_class(**dict(zip(varied, values, strict=True)))
        except TypeError:
            return


def _members(name: str, kind: Kind) -> Sequence[Any]:
    if name == "vcpu":
        return VCPUS
    return kind.members if isinstance(kind, Choice) else ()
