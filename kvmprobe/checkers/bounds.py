"""What each single reply must keep to, whatever the scenario did before."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.checkers.event import input_of, u64, written_image, xcr0_of, xstate_bv
from kvmprobe.checkers.told import IMAGES
from kvmprobe.results.record import Finding
from kvmprobe.scenarios.calls import CANARY
from kvmprobe.xstate.features import FPSSE, names
from kvmprobe.xstate.image import FCW_INIT, MXCSR_INIT
from kvmprobe.xstate.layout import (
    EXTENDED_OFFSET,
    KVM_XSAVE_SIZE,
    MXCSR,
    MXCSR_MASK,
    SOFTWARE_WORD,
    XCOMP_BV,
    XMM_REGISTERS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.told import Told


def image_form(event: Event, told: Told) -> Iterator[Finding]:
    """Expect reserved bytes 0, bytes 464-471 the host's user features, the extent is exact.

    INV-14, INV-16, INV-17.
    """
    vcpu = told.vcpu(event)
    if vcpu is None or event.name not in IMAGES or not event.output:
        return
    image = written_image(event.output, told.host)
    if not told.rewrites_cpuid:
        yield from _extent(event, told, image, expanded=vcpu.expanded)
    zeros = (
        (XMM_REGISTERS.stop, SOFTWARE_WORD.start),
        (SOFTWARE_WORD.stop, 512),
        (XCOMP_BV.start, EXTENDED_OFFSET),
    )
    for first, behind in zeros:
        if any(image[first:behind]):
            text = f"bytes {first} to {behind - 1} of an image are not 0"
            yield Finding("image-form", "INV-16", event.step, text)
    word = u64(image, SOFTWARE_WORD.start)
    if word != told.host.user_features:
        text = f"bytes 464-471 are {names(word)}, not ARCH_GET_XCOMP_SUPP"
        yield Finding("image-form", "INV-16", event.step, text)
    offered = (vcpu.table.xcr0 & told.host.kvm_xcr0 if vcpu.table else 0) | FPSSE
    if not told.rewrites_cpuid and (beyond := xstate_bv(image) & ~offered):
        text = f"XSTATE_BV has {names(beyond)}, which the guest's CPUID has not"
        yield Finding("image-form", "INV-17", event.step, text)


def _extent(event: Event, told: Told, image: bytes, *, expanded: bool) -> Iterator[Finding]:
    if event.name == "KVM_GET_XSAVE":
        return
    size = told.host.uabi_size(told.host.kvm_xcr0) if expanded else KVM_XSAVE_SIZE
    beyond = event.output[size:]
    if len(image) != size or beyond.count(CANARY) != len(beyond):
        written = len(event.output.rstrip(bytes([CANARY])))
        text = f"{event.name} writes {written} bytes where {size} are due"
        yield Finding("extent", "INV-14", event.step, text)


def old_get_xsave(event: Event, told: Told) -> Iterator[Finding]:
    """Expect KVM_GET_XSAVE to work until XTILE_DATA is enabled, and never after (INV-13)."""
    vcpu = told.vcpu(event)
    if vcpu is None or event.name != "KVM_GET_XSAVE" or event.result == -errno.EIO:
        return
    expected = -errno.EINVAL if vcpu.expanded else 0
    if event.result not in {expected, -errno.EFAULT}:
        text = f"KVM_GET_XSAVE returns {event.result}, not {expected}"
        yield Finding("extent", "INV-13", event.step, text)


def fresh_vcpu(event: Event, told: Told) -> Iterator[Finding]:
    """Expect of a new vCPU the architectural initial state (INV-15)."""
    vcpu = told.vcpu(event)
    if vcpu is None or vcpu.epoch or not event.output:
        return
    match event.name:
        case "KVM_GET_XSAVE" | "KVM_GET_XSAVE2":
            if not _initial(written_image(event.output, told.host)):
                text = "the image of a new vCPU is not INIT state"
                yield Finding("fresh-vcpu", "INV-15", event.step, text)
        case "KVM_GET_XCRS":
            if xcr0_of(event.output) != 1:
                yield Finding("fresh-vcpu", "INV-15", event.step, "XCR0 of a new vCPU is not 1")
        case _:
            return


def _initial(image: bytes) -> bool:
    expected = bytearray(len(image))
    expected[:2] = FCW_INIT.to_bytes(2, "little")
    expected[MXCSR.start : MXCSR.stop] = MXCSR_INIT.to_bytes(4, "little")
    for kept in (MXCSR_MASK, SOFTWARE_WORD):
        expected[kept.start : kept.stop] = image[kept.start : kept.stop]
    return bytes(expected) == image


def legal_header(event: Event, told: Told) -> Iterator[Finding]:
    """Expect no XCOMP_BV, reserved byte or component that KVM lacks to be accepted (INV-18)."""
    if event.name != "KVM_SET_XSAVE" or event.result != 0:
        return
    content = input_of(event.call, told.captured)
    if len(content) < EXTENDED_OFFSET:
        return
    if any(content[XCOMP_BV.start : EXTENDED_OFFSET]):
        text = "KVM_SET_XSAVE accepts an image with XCOMP_BV or reserved header bytes"
        yield Finding("legal-header", "INV-18", event.step, text)
    beyond = xstate_bv(content) & ~told.host.kvm_xcr0 & ~FPSSE
    if beyond:
        text = f"KVM_SET_XSAVE accepts {names(beyond)}, which KVM does not support"
        yield Finding("legal-header", "INV-18", event.step, text)
