"""How a reply differs from what a correct kernel may answer: values, and no text."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads the types of the fields
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.xstate.cpuid import CpuidEntry, Register  # noqa: TC001
from kvmprobe.xstate.diff import DifferingRegion, differences, differing_regions
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from kvmprobe.xstate.layout import Layout


@dataclass(frozen=True, slots=True)
class ResultDiffers:
    """Another result, or -errno.

    :ivar expected: None where any descriptor is right
    """

    expected: int | None
    observed: int


@dataclass(frozen=True, slots=True)
class ExitDiffers:
    """KVM_RUN returned 0, and the guest payload had not answered.

    :ivar expected: the result of KVM_RUN: -errno, or 0 where the payload should have answered
    :ivar exit_reason: KVM_EXIT_*
    :ivar entry_failure: ``hardware_entry_failure_reason`` of KVM_EXIT_FAIL_ENTRY; None where it is
        not known
    """

    expected: int
    exit_reason: int
    entry_failure: int | None = None


@dataclass(frozen=True, slots=True)
class ValuesDiffer:
    """Other values in the output, by name; one that the output lacks is not among the observed."""

    expected: Mapping[str, int]
    observed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BytesDiffer:
    """Other bytes in memory that has no named values.

    :ivar offset: of the first byte that differs
    :ivar expected: from there on, at most :data:`KEPT_BYTES`
    """

    offset: int
    expected: bytes
    observed: bytes


@dataclass(frozen=True, slots=True)
class RegisterDiffers:
    """A register of one CPUID entry."""

    leaf: int
    subleaf: int
    register: Register
    expected: int
    observed: int


@dataclass(frozen=True, slots=True)
class EntryDiffers:
    """Another CPUID entry at one place of a table."""

    expected: CpuidEntry
    observed: CpuidEntry


@dataclass(frozen=True, slots=True)
class TableDiffers:
    """Another CPUID table: what differs in it, the first first.

    :ivar entries: the expected number of entries and the observed one, where they differ
    """

    parts: tuple[RegisterDiffers | EntryDiffers, ...]
    entries: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RunOfBytes:
    """Differing bytes within one field or component of an XSAVE image.

    :ivar where: the field or component
    :ivar offset: of the first one in the image
    :ivar size: in bytes
    :ivar expected: the first of them, at most :data:`KEPT_BYTES`
    """

    where: str
    offset: int
    size: int
    expected: bytes
    observed: bytes


@dataclass(frozen=True, slots=True)
class ImageDiffers:
    """Another XSAVE image.

    :ivar size: of the expected image, in bytes
    :ivar written: bytes that the kernel wrote, where it wrote beyond the image
    :ivar regions: the same differences to be drawn
    """

    size: int
    expected_xstate_bv: int
    observed_xstate_bv: int
    runs: tuple[RunOfBytes, ...]
    regions: tuple[DifferingRegion, ...] = ()
    written: int | None = None


@dataclass(frozen=True, slots=True)
class HostSurvives:
    """The call returned, where the model of a known defect says that the host dies."""

    reason: str
    observed: int


@dataclass(frozen=True, slots=True)
class KernelWarns:
    """The kernel logged a message that no correct kernel logs for a scenario."""

    message: str


@dataclass(frozen=True, slots=True)
class KernelTainted:
    """The scenario set these bits of the kernel's taint.

    :see: Documentation/admin-guide/tainted-kernels.rst
    """

    bits: int


KEPT_BYTES = 16
Difference = (
    ResultDiffers
    | ExitDiffers
    | ValuesDiffer
    | BytesDiffer
    | TableDiffers
    | ImageDiffers
    | HostSurvives
    | KernelWarns
    | KernelTainted
)


def image_differs(
    expected: bytes, observed: bytes, layout: Layout, written: int | None = None
) -> ImageDiffers:
    """Return how two images of one length differ.

    :param written: see :class:`ImageDiffers`
    """
    runs = tuple(
        RunOfBytes(
            d.where, d.offset, len(d.expected), d.expected[:KEPT_BYTES], d.observed[:KEPT_BYTES]
        )
        for d in differences(expected, observed, layout)
    )
    regions = differing_regions(expected, observed, layout)
    bitmaps = xstate_bv_of(expected), xstate_bv_of(observed)
    return ImageDiffers(len(expected), *bitmaps, runs, regions, written)
