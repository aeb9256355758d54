"""The emulated AMX host as a place to run scenarios: each link is a fork of one booted machine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from kvmprobe.errors import LabError
from kvmprobe.execution.driver import Timing
from kvmprobe.execution.link import HostGoneError, LinkLostError
from kvmprobe.execution.place import Risk
from kvmprobe.lab import emulator, kernels
from kvmprobe.lab.coverage import Coverage
from kvmprobe.lab.machine import WORKER_SILENCE_SECONDS
from kvmprobe.lab.machine_events import (
    BlocksReached,
    ChannelLine,
    ConsolePanic,
    Ended,
    EndReason,
)
from kvmprobe.lab.saved import SavedTemplate
from kvmprobe.lab.template import Template
from kvmprobe.lab.variant_boot import naming
from kvmprobe.lab.watched_kernel import KernelReader
from kvmprobe.lab.worker_image import WorkerImage
from kvmprobe.results.host_variant import DEFAULT_HOST
from kvmprobe.results.record import Crash, Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmprobe.lab.archive import Archives
    from kvmprobe.lab.cache import Cache
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.machine import Machine
    from kvmprobe.lab.machine_events import Event
    from kvmprobe.progress import Progress
    from kvmprobe.results.host_variant import HostVariant

# By the emulated clock, one second of which takes ten or more.
_SCENARIO_SECONDS = 3.0


class Startup(Enum):
    """How the emulated host starts."""

    WARM = "from the saved machine of an earlier run, if there is one"
    COLD = "with a boot"


class EmulatedLink:
    """A worker on an emulated host of its own."""

    def __init__(self, machine: Machine, coverage: Coverage | None, *heard: str) -> None:
        """Connect to a machine.

        :param coverage: what is watched of its kernel; None for nothing
        :param heard: lines that its worker wrote before the machine was forked
        """
        self._machine = machine
        self._events: Iterator[Event] = machine.events(WORKER_SILENCE_SECONDS)
        self._heard = list(heard)
        self._coverage = coverage
        self._blocks: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._machine.__exit__()

    def abort(self) -> None:
        """Kill the emulated host, from any thread; :meth:`receive` then raises LinkLostError."""
        self._machine.kill()

    def fork(self) -> Self:
        """Return a link to a copy of the machine, whose worker has to wait for a line.

        :raises TemplateLost: the machine has ended or does not wait
        :raises ForkFailed: the emulator could not fork (EAGAIN, ENOMEM)
        """
        return type(self)(self._machine.fork(), self._coverage)

    def send(self, line: str) -> None:
        """Queue a line for the worker."""
        self._machine.send(line)

    def blocks_reached(self) -> bytes | None:
        """Return the blocks that the scenario reached whose end has just been received."""
        blocks, self._blocks = self._blocks, None
        return self._coverage.complete(blocks) if self._coverage and blocks else blocks

    def receive(self, timeout: float) -> str:  # noqa: ARG002 - the machine has its own timeout
        """Return the worker's next line.

        :raises LinkLostError: the kernel panicked (with its report) or hung, or the guest sent what
            no guest sends
        :raises HostGoneError: the emulator was killed, failed or did not run
        """
        if self._heard:
            return self._heard.pop()
        try:
            return self._next_line()
        except LabError as garbled:
            raise LinkLostError(str(garbled)) from garbled

    def _next_line(self) -> str:
        crash: Crash | None = None
        for event in self._events:
            match event:
                case ChannelLine(text):
                    return text
                case BlocksReached(bits):
                    self._blocks = bits
                case ConsolePanic(report):
                    crash = Crash(
                        step=0,
                        during=None,
                        headline=report.headline,
                        function=report.function,
                        frames=report.frames,
                        report=report.text,
                    )
                case Ended(EndReason.EMULATOR_DIED | EndReason.STALLED as reason, text):
                    raise HostGoneError(f"{reason.value} {text}".strip())
                case Ended(reason, text):
                    hung = reason is reason.HANG
                    raise LinkLostError(f"{reason.value} {text}".strip(), crash, hung=hung)
                case _:
                    continue
        raise LinkLostError("the emulated host has ended")


@dataclass(frozen=True, slots=True)
class EmulatedHost:
    """A kernel that boots once; a context manager that ends all its machines.

    :ivar jobs: machines that run scenarios at the same time
    :ivar coverage: what is watched of the kernel; None for nothing
    :ivar variant: how it differs from the default host
    """

    kernel: kernels.Kernel
    emulator: Emulator
    template: Template
    jobs: int = 1
    coverage: Coverage | None = None
    variant: HostVariant = DEFAULT_HOST
    timing: Timing = field(default_factory=lambda: Timing(scenario=_SCENARIO_SECONDS, start=180.0))
    risk: Risk = Risk.EXPENDABLE

    @classmethod
    def prepare(  # noqa: PLR0913 - three of them by name
        cls,
        archives: Archives,
        spec: str | None,
        modules: Path | None,
        progress: Progress,
        *,
        tarball: Path | None = None,
        start: Startup = Startup.WARM,
        variant: HostVariant = DEFAULT_HOST,
    ) -> Self:
        """Fetch the kernel, and build emulator and boot image, unless they are in the cache.

        :raises LabError: see :func:`kernels.resolve` and :func:`emulator.ensure`
        """
        kernel = kernels.resolve(spec, modules_dir=modules, archives=archives, progress=progress)
        built = emulator.ensure(archives, progress, tarball=tarball, processors=variant.processors)
        progress.stage(f"emulated host: boot image with {kernel.label}")
        image = WorkerImage(kernel, built, archives.cache, variant)
        warm = start is Startup.WARM
        saved = SavedTemplate.of(archives.cache, built, image.get()) if warm else None
        return cls(kernel, built, Template(built, image, saved), variant=variant)

    def watched(self, cache: Cache, progress: Progress) -> Self:
        """Return this host; its machines report which blocks of the kernel are reached.

        :raises NoCoverage: the kernel's functions cannot be read
        :raises BootFailed: it does not boot
        """
        reader = KernelReader(cache, self.emulator, self.variant)
        coverage = Coverage(reader.functions(self.kernel, progress))
        template = self.template.prepared_by(coverage.arm)
        return replace(self, coverage=coverage, template=template)

    @property
    def target(self) -> Target:
        """The kernel under test, and its host."""
        return Target("lab", self.kernel.label, self.kernel.source, self.variant)

    def recall(self) -> dict[str, Any] | None:
        """Return what an earlier run with the same saved machine and kvmprobe recorded."""
        return None if self.template.saved is None else self.template.saved.recall()

    def remember(self, recorded: dict[str, Any]) -> None:
        """Keep what was found out, beside the saved machine."""
        if self.template.saved is not None:
            self.template.saved.remember(recorded)

    def open(self) -> EmulatedLink:
        """Fork a machine; boot the kernel if this is the first one.

        :raises BootFailed: the kernel did not boot, or has no KVM
        :raises LabError: the emulator cannot fork
        """
        with naming(self.variant):
            return EmulatedLink(self.template.fork(), self.coverage, self.template.greeting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.template.close()
