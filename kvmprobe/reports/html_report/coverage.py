"""The page's section on the coverage of kernels: functions, and the blocks that nobody reached."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.coverage.measured import Measured
    from kvmprobe.coverage.summary import FunctionCoverage, Summary
    from kvmprobe.results.record import Target
    from kvmprobe.results.run_document import RunDocument


@dataclass(frozen=True, slots=True)
class Unreached:
    """A block that no scenario reached.

    :ivar place: function and offset
    :ivar call: what is called first from there on; may be empty
    """

    place: str
    call: str
    instructions: str


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """One function; ``unreached`` has its blocks by reason, those without one first."""

    function: FunctionCoverage
    unreached: tuple[tuple[str, tuple[Unreached, ...]], ...]


@dataclass(frozen=True, slots=True)
class KernelCoverage:
    """One kernel of one run."""

    label: str
    summary: Summary
    rows: tuple[FunctionRow, ...]


@dataclass(frozen=True, slots=True)
class Covered:
    """What a run measured of one kernel."""

    run: RunDocument
    target: Target
    measured: Measured


def covered_by(runs: Sequence[RunDocument]) -> list[Covered]:
    """Return what was measured of each kernel by runs whose directories have any coverage.

    :raises UsageError, ScenarioError: see :func:`kvmprobe.coverage.of_run.coverage_of`
    """
    return [covered for run in runs for covered in _of_run(run)]


def _of_run(run: RunDocument) -> Iterator[Covered]:
    if run.covered_in is None:
        return
    # Imported late: the decoder is only needed for this.
    from kvmprobe.coverage.of_run import coverage_of_directory  # noqa: PLC0415

    for target, measured in coverage_of_directory(run.covered_in).items():
        yield Covered(run, target, measured)


def kernels_covered(covered: Sequence[Covered]) -> list[KernelCoverage]:
    """Return the functions and blocks of each kernel."""
    return [_kernel(each) for each in covered]


def _kernel(covered: Covered) -> KernelCoverage:
    # Imported late: the decoder is only needed for this.
    from kvmprobe.coverage.summary import Summary  # noqa: PLC0415

    target, name, measured = covered.target, covered.run.name, covered.measured
    summary = Summary.of(measured, target.kernel)
    rows = tuple(_row(measured, summary, function) for function in summary.functions)
    label = f"{target.release}, {name}" if name else target.release
    return KernelCoverage(label, summary, rows)


def _row(measured: Measured, summary: Summary, function: FunctionCoverage) -> FunctionRow:
    def reason(number: int) -> str:
        return summary.reason[number].text if number in summary.reason else ""

    unreached = sorted(set(function.blocks) - set(function.reached), key=lambda n: (reason(n), n))
    return FunctionRow(
        function,
        tuple(
            (text, tuple(_unreached(measured, number) for number in numbers))
            for text, numbers in groupby(unreached, reason)
        ),
    )


def _unreached(measured: Measured, number: int) -> Unreached:
    text, block = measured.disassembly, measured.blocks[number]
    return Unreached(text.place(block), text.nearest_call(number), "\n".join(text.lines(block)))
