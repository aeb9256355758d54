"""Runs the second model and the first one side by side over random calls."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import HostDies
from kvmprobe.scenarios.domain import Domain
from kvmprobe.xstate.layout import Component, Layout
from tests.opinion.agreement import Comparison, with_first_model
from tests.opinion.entries import without_entry
from tests.opinion.random_calls import RandomCalls
from tests.support.hosts import AMX_HOST, AVX512_HOST, with_behaviours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Step
    from kvmprobe.scenarios.ops import Op
    from tests.opinion.agreement import Disagreement

_NEWEST = (
    Behaviour.KNOWS_APX,
    Behaviour.XSS_FOLLOWS_CPUID,
    Behaviour.CR4_NEEDS_CPUID,
    Behaviour.ONE_REG_MSRS,
    Behaviour.KNOWS_TMUL_FEATURES,
)
# SDM vol.1 13.5.4 "MPX State": components 3 and 4; their usual places.
_BOUNDS = (Component(3, 960, 64), Component(4, 1024, 64))
_MPX_HOST = replace(
    AVX512_HOST,
    user_features=0xFF,
    kvm_xcr0=0xFF,
    layout=Layout.of((*AVX512_HOST.layout.components, *_BOUNDS)),
    supported=AVX512_HOST.supported.replaced(0xD, 0, eax=0xFF),
)
# A processor with XSAVE and XSAVEOPT alone: SDM vol.2 CPUID, leaf 0xD, subleaf 1, EAX.
_STANDARD_HOST = replace(
    with_behaviours(AVX512_HOST, Behaviour.STANDARD_FORMAT),
    cpu=AVX512_HOST.cpu.replaced(0xD, 1, eax=0b0001),
    supported=AVX512_HOST.supported.replaced(0xD, 1, eax=0b0001),
)
HOSTS = (
    AMX_HOST,
    with_behaviours(AMX_HOST, *_NEWEST),
    AVX512_HOST,
    _MPX_HOST,
    _STANDARD_HOST,
)


class RandomRun:
    """Random processes, one after the other; the same seed gives the same ones.

    :ivar comparison: all of them together
    """

    def __init__(self, seed: int, hosts: Sequence[HostProfile] = HOSTS) -> None:
        self.comparison = Comparison()
        self._random = Random(seed)
        self._calls = RandomCalls(self._random)
        self._hosts = hosts

    def until(self, steps: int) -> Iterator[tuple[Disagreement, tuple[Op, ...]]]:
        """Run processes until so many calls have been compared.

        Yields what no entry covers, with the calls of its process.
        """
        while self.comparison.steps < steps:
            host = self._random.choice(self._hosts)
            known = len(self.comparison.found)
            made: list[Op] = []
            judged = self._judged(host, made)
            name = f"random process from call {self.comparison.steps}"
            with_first_model(host, judged, self.comparison, name)
            for one in without_entry(self.comparison.found[known:]):
                yield one, tuple(made)

    def _judged(self, host: HostProfile, made: list[Op]) -> Iterator[tuple[Op, Step]]:
        for op, step in self._calls.sequence(Domain(host)):
            if isinstance(step.outcome, HostDies):
                return
            made.append(op)
            yield op, step
