"""The ops that a search makes sequences of, and how often it takes each of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.scenarios.op_fields import kinds
from kvmprobe.scenarios.ops import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from kvmprobe.scenarios.need import Needs
    from kvmprobe.scenarios.ops import Op

# Relative frequency of ops, by the verb of their call: most bugs need state that was set.
_WEIGHTS = {"SET": 4.0, "RUN": 2.0, "REQ": 1.5, "GET": 0.5, "CREATE": 0.3}
# Some ops remove what most others need.
_OWN_WEIGHTS = {
    "close": 0.05,
    "limit-descriptors": 0.05,
    "go-on-in-child": 0.2,
    "guest-enter-l2": 0.4,
    "create-vcpu": 2.0,
    "map-halt": 0.2,
    "map-out": 0.2,
    "map-payload": 0.2,
    "share-payload": 0.2,
}
# Kinds of calls that can be among the few of a sequence, by the weight of their ops; how many.
_COMMON, _FEW = 1.5, 5


class Vocabulary:
    """Ops by what they are for.

    :ivar writers: ops that may change something, with their weights
    :ivar runs: those that enter the guest
    :ivar readers: reads of a vCPU that change nothing
    :ivar readers_of_any: those that can be made on any vCPU
    """

    def __init__(self, missing: Needs) -> None:
        """Take all ops but those that need what is missing."""
        ops = [c for _, c in sorted(registry().items()) if not c.needs & missing]
        self.readers = [op_class for op_class in ops if _only_reads(op_class)]
        self.readers_of_any = [c for c in self.readers if "vcpu" in kinds(c)]
        self.writers = {c: _weight(c) for c in ops if not _only_reads(c)}
        self.runs = dict.fromkeys((c for c in self.writers if c.interface == "KVM_RUN"), 1.0)
        weights = Counter[str]()
        for op_class, weight in self.writers.items():
            weights[op_class.interface] += weight  # type: ignore[assignment]
        self._weight_of_kind = weights
        self._common = [kind for kind, weight in weights.items() if weight >= _COMMON]

    def few(self, random: Random) -> Mapping[type[Op], float]:
        """Return the writers of a few kinds of calls, with the same weight for each kind."""
        weights = [self._weight_of_kind[kind] ** 0.5 for kind in self._common]
        chosen = set(random.choices(self._common, weights, k=_FEW))
        return {
            op_class: weight / self._weight_of_kind[op_class.interface]
            for op_class, weight in self.writers.items()
            if op_class.interface in chosen
        }

    def writers_among(self, ops: Iterable[Op]) -> Mapping[type[Op], float]:
        """Return the writers that some ops are of."""
        return {type(op): self.writers[type(op)] for op in ops if type(op) in self.writers}

    def readers_of(self, ops: Iterable[Op]) -> list[type[Op]]:
        """Return the readers of the states that some ops set."""
        states = {_state(op.interface) for op in ops if op.interface.startswith("KVM_SET_")}
        return [op_class for op_class in self.readers if _state(op_class.interface) in states]


def _state(interface: str) -> str:
    """Return ``XSAVE`` for KVM_SET_XSAVE, KVM_GET_XSAVE and KVM_GET_XSAVE2."""
    return interface[len("KVM_SET_") :].rstrip("2")


def _weight(op_class: type[Op]) -> float:
    if op_class.name in _OWN_WEIGHTS:
        return _OWN_WEIGHTS[op_class.name]
    verb = op_class.interface.removeprefix("KVM_").removeprefix("ARCH_").partition("_")[0]
    weight = _WEIGHTS.get(verb, 1.0)
    # There are many ops of guest code; together they weigh as much as the ioctls.
    return weight * 0.5 if op_class.name.startswith("guest-") else weight


def _only_reads(op_class: type[Op]) -> bool:
    """Return True for a read of a vCPU that changes nothing."""
    reads = op_class.interface.startswith("KVM_GET_") and Descriptor.VCPU in op_class.on_kinds
    return reads and not op_class.takes_init
