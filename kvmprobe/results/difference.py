"""Differences between a reply and what a correct kernel may return: values, no text."""

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
    """A wrong result or -errno.

    :ivar expected: None if any descriptor is correct
    """

    expected: int | None
    observed: int


@dataclass(frozen=True, slots=True)
class ExitDiffers:
    """KVM_RUN returned 0 before the guest payload answered.

    :ivar expected: the result of KVM_RUN: -errno, or 0 if the payload should have answered
    :ivar exit_reason: KVM_EXIT_*
    :ivar entry_failure: ``hardware_entry_failure_reason`` of KVM_EXIT_FAIL_ENTRY; None if unknown
    """

    expected: int
    exit_reason: int
    entry_failure: int | None = None


@dataclass(frozen=True, slots=True)
class ValuesDiffer:
    """Wrong values in the output, by name; ``observed`` lacks those that the output lacks."""

    expected: Mapping[str, int]
    observed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BytesDiffer:
    """Wrong bytes in memory without named values.

    :ivar offset: offset of the first byte that differs
    :ivar expected: the bytes from there on, at most :data:`KEPT_BYTES`
    """

    offset: int
    expected: bytes
    observed: bytes


@dataclass(frozen=True, slots=True)
class RegisterDiffers:
    """A wrong register of a CPUID entry."""

    leaf: int
    subleaf: int
    register: Register
    expected: int
    observed: int


@dataclass(frozen=True, slots=True)
class EntryDiffers:
    """A wrong CPUID entry at one place of a table."""

    expected: CpuidEntry
    observed: CpuidEntry


@dataclass(frozen=True, slots=True)
class TableDiffers:
    """A wrong CPUID table, with the parts that differ in order.

    :ivar entries: the expected and the observed number of entries, if they differ
    """

    parts: tuple[RegisterDiffers | EntryDiffers, ...]
    entries: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RunOfBytes:
    """Differing bytes within one field or component of an XSAVE image.

    :ivar where: the field or component
    :ivar offset: offset of the first byte in the image
    :ivar size: number of bytes
    :ivar expected: the first bytes, at most :data:`KEPT_BYTES`
    """

    where: str
    offset: int
    size: int
    expected: bytes
    observed: bytes


@dataclass(frozen=True, slots=True)
class ImageDiffers:
    """A wrong XSAVE image.

    :ivar size: size of the expected image in bytes
    :ivar written: number of bytes that the kernel wrote, if it wrote beyond the image
    :ivar regions: the same differences, for a drawing
    """

    size: int
    expected_xstate_bv: int
    observed_xstate_bv: int
    runs: tuple[RunOfBytes, ...]
    regions: tuple[DifferingRegion, ...] = ()
    written: int | None = None


@dataclass(frozen=True, slots=True)
class HostSurvives:
    """The call returned, although the model of a known defect predicts that the host dies."""

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
    """Return the difference of two images of the same length.

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
