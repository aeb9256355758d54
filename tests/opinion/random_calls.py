"""Random legal calls of which the second model has an opinion, and what is between them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from kvmprobe.abi.payload import PayloadOp
from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.guest import GuestExecute, MapPayload
from kvmprobe.scenarios.ops.guest_control import (
    GuestLdmxcsr,
    GuestWriteCr4,
    GuestWrpkru,
    GuestXgetbv,
    GuestXsetbv,
)
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd, SetMsrs, SetXfd, SetXfdErr
from kvmprobe.scenarios.ops.permission import (
    GetGuestPermission,
    GetPermission,
    GetSupported,
    RequestGuestPermission,
    RequestPermission,
)
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs, SetXcrsList
from kvmprobe.scenarios.ops.xsave import GetXsave, GetXsave2, SetXsave, SetXsaveImage
from kvmprobe.xstate.malformations import Malformation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from kvmprobe.model.outcome import Step
    from kvmprobe.scenarios.domain import Domain
    from kvmprobe.scenarios.ops import Op

_GROUPS = (1, 2, 4, 0x18, 0xE0, 0x20, 0x200, 0x60000, 0x20000, 0x40000, 1 << 8, 1 << 19, 1 << 63)
_TILES = 0x40000
# CR4.PAE, OSFXSR, OSXMMEXCPT, OSXSAVE, PKE (SDM vol.3 2.5 "Control Registers").
_ALL_ENABLED = 0x440620
_LIMIT = 30
_SHOWN = 0.4


if TYPE_CHECKING:
    Draw = tuple[float, Callable[[], Op], Callable[[], Op]]


class RandomCalls:
    """Draws calls for one host; the same random source gives the same calls."""

    def __init__(self, random: Random) -> None:
        self._random = random
        # How often, what is called, and what shows its effect.
        self._halting: tuple[Draw, ...] = (
            (9, lambda: SetXcrs(self._bitmap()), GetXcrs),
            (1, self._xcrs_list, GetXcrs),
            (5, lambda: SetXfd(self._armed()), GetXfd),
            (5, lambda: SetXfd(self._armed()), GetXsave2),
            (1, lambda: SetXfdErr(self._armed()), GetXfd),
            (1, self._msrs, GetXfd),
            (7, lambda: SetXsave(self._bitmap()), GetXsave2),
            (9, self._image, GetXsave2),
            (3, GetXsave2, GetXsave),
            (1, GetFpu, GetXsave2),
            (3, RunImmediateExit, GetXsave2),
            (4, lambda: SetCpuid2(self._choice(*Table)), GetXsave2),
            (2, GetSupportedCpuid, CheckXsave2),
            (2, lambda: RequestGuestPermission(self._feature(), self._task()), self._guest_granted),
            (2, lambda: RequestPermission(self._feature(), self._task()), self._granted),
            (1, GetSupported, GetPermission),
            (0.3, lambda: CreateVcpu(id=self._choice(0, 1, 2)), GetXsave2),
        )
        self._running: tuple[Draw, ...] = (
            (6, lambda: GuestXsetbv(self._bitmap(), self._choice(0, 0, 0, 1, 2)), GetXcrs),
            (4, lambda: GuestXgetbv(self._choice(0, 0, 0, 1, 2)), GetXcrs),
            (3, lambda: GuestWrpkru(random.getrandbits(32), *self._zeros()), GetXsave2),
            (3, lambda: GuestLdmxcsr(self._mxcsr()), GetXsave2),
            (3, lambda: GuestExecute(PayloadOp.RDPKRU), GetXsave2),
            (3, lambda: GuestExecute(PayloadOp.STMXCSR), GetXsave2),
            (2, lambda: GuestWriteCr4(_ALL_ENABLED), GetXsave2),
            (4, lambda: SetXsave(self._bitmap()), lambda: GuestExecute(PayloadOp.RDPKRU)),
            (4, self._image, lambda: GuestExecute(PayloadOp.STMXCSR)),
        )

    def sequence(self, domain: Domain) -> Iterator[tuple[Op, Step]]:
        """Yield the calls of one process with the first model's steps."""
        running = self._random.random() < 0.4
        calls = self._halting + (self._running if running else ((2, RunUntilHalt, GetXsave2),))
        for op in chain(self._start(running=running), self._drawn(calls)):
            try:
                yield op, domain.follow(op)
            except ScenarioError:
                continue

    def _drawn(self, calls: tuple[Draw, ...]) -> Iterator[Op]:
        # Some calls often and others hardly ever, different ones in each process.
        weights = [weight * self._choice(0.1, 1, 1, 8) for weight, _, _ in calls]
        count = self._random.randrange(1, _LIMIT)
        for _, draw, show in self._random.choices(calls, weights, k=count):
            yield draw()
            if self._random.random() < _SHOWN:
                yield show()

    def _start(self, *, running: bool) -> Iterator[Op]:
        yield OpenKvm()
        if self._random.random() < 0.3:
            yield SpawnTask("task0", self._choice(*Relation))
        yield from (RequestGuestPermission(18) for _ in range(self._choice(0, 1, 1)))
        yield CreateVm()
        yield MapPayload() if running else MapHalt()
        yield CreateVcpu()
        yield GetSupportedCpuid()
        if self._random.random() < 0.9:
            yield SetCpuid2(self._choice(Table.SUPPORTED, Table.SUPPORTED, Table.NO_AMX))
        if running:
            yield GuestWriteCr4(_ALL_ENABLED)

    def _choice(self, *values):
        return self._random.choice(values)

    def _bitmap(self) -> int:
        """Return XCR0 or XSTATE_BV: mostly legal groups, sometimes others, rarely anything."""
        kind = self._random.random()
        if kind < 0.02:
            return self._random.getrandbits(64)
        if kind < 0.2:
            return self._random.getrandbits(19) & 0x602FF
        likely = self._choice(0x602E7, 0x2E7, 0xE7, 7, 3, 1)
        groups = self._random.sample(_GROUPS, self._choice(0, 0, 1, 1, 2))
        for group in groups:
            likely ^= group
        return likely

    def _armed(self) -> int:
        return self._choice(0, _TILES, _TILES, 1 << 17, self._bitmap())

    def _feature(self) -> int:
        return self._choice(18, 18, 18, 17, 0, 9, 19, 20, 63, self._random.getrandbits(64))

    def _task(self) -> str:
        return self._choice("", "task0")

    def _guest_granted(self) -> Op:
        return GetGuestPermission(self._task())

    def _granted(self) -> Op:
        return GetPermission(self._task())

    def _zeros(self) -> tuple[int, int]:
        return self._choice((0, 0), (0, 0), (0, 0), (1, 0), (0, 1))

    def _mxcsr(self) -> int:
        return self._choice(0x1F80, 0x1FA0, self._random.getrandbits(16), 1 << 16, 1 << 31)

    def _xcrs_list(self) -> Op:
        entries = tuple(
            (self._choice(0, 0, 1, 7), self._bitmap()) for _ in range(self._choice(0, 1, 2, 16, 17))
        )
        return SetXcrsList(entries, self._choice(0, 0, 0, 1))

    def _msrs(self) -> Op:
        indices = [self._choice(0x1C4, 0x1C4, 0x1C5) for _ in range(self._choice(1, 2, 3))]
        return SetMsrs(tuple((index, self._armed()) for index in indices))

    def _image(self) -> Op:
        malformation = self._choice(*Malformation, *[Malformation.MXCSR] * 4)
        number = self._choice(0, 1, 18, 0x1F80, 0x1FA0, self._random.getrandbits(32))
        return SetXsaveImage(self._bitmap(), malformation, number)
