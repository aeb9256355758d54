"""What each single reply must keep to, whatever the scenario did before."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.checkers.event import input_of, u64, written_image, xcr0_of, xstate_bv
from kvmprobe.checkers.observed import IMAGES
from kvmprobe.results.claim import Claim
from kvmprobe.scenarios.calls import CANARY
from kvmprobe.xstate.features import FPSSE
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
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding
# What a descriptor gives that is closed, or of another memory.
_UNUSABLE = {-errno.EBADF, -errno.EIO}


def image_form(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Expect reserved bytes 0, bytes 464-471 the host's user features, the extent is exact.

    INV-14, INV-16, INV-17.
    """
    vcpu = state.vcpu(event)
    if vcpu is None or event.name not in IMAGES or not event.output:
        return
    image = written_image(event.output, state.host)
    if not state.rewrites_cpuid:
        yield from _extent(event, state, image, expanded=vcpu.expanded)
    zeros = (
        (XMM_REGISTERS.stop, SOFTWARE_WORD.start),
        (SOFTWARE_WORD.stop, 512),
        (XCOMP_BV.start, EXTENDED_OFFSET),
    )
    for first, behind in zeros:
        if any(image[first:behind]):
            place = {"first": first, "last": behind - 1}
            yield event.finding("image-form", "INV-16", Claim.RESERVED_NOT_ZERO, place)
    word = u64(image, SOFTWARE_WORD.start)
    if word != state.host.user_features:
        yield event.finding("image-form", "INV-16", Claim.SOFTWARE_WORD, {"value": word})
    offered = (vcpu.table.xcr0 & state.host.kvm_xcr0 if vcpu.table else 0) | FPSSE
    if not state.rewrites_cpuid and (beyond := xstate_bv(image) & ~offered):
        yield event.finding("image-form", "INV-17", Claim.BEYOND_GUEST_CPUID, {"bits": beyond})


def _extent(
    event: Event, state: ObservedState, image: bytes, *, expanded: bool
) -> Iterator[Finding]:
    if event.name == "KVM_GET_XSAVE":
        return
    size = state.host.uabi_size(state.host.kvm_xcr0) if expanded else KVM_XSAVE_SIZE
    beyond = event.output[size:]
    if len(image) != size or beyond.count(CANARY) != len(beyond):
        written = len(event.output.rstrip(bytes([CANARY])))
        sizes = {"written": written, "size": size}
        yield event.finding("extent", "INV-14", Claim.EXTENT, {"call": event.name, **sizes})


def old_get_xsave(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Expect KVM_GET_XSAVE to work until XTILE_DATA is enabled, and never after (INV-13)."""
    vcpu = state.vcpu(event)
    if vcpu is None or event.name != "KVM_GET_XSAVE" or event.result in _UNUSABLE:
        return
    expected = -errno.EINVAL if vcpu.expanded else 0
    if event.result not in {expected, -errno.EFAULT}:
        results = {"result": event.result, "expected": expected}
        yield event.finding("extent", "INV-13", Claim.OLD_GET_XSAVE, results)


def fresh_vcpu(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Expect of a new vCPU the architectural initial state (INV-15)."""
    vcpu = state.vcpu(event)
    if vcpu is None or vcpu.epoch or not event.output:
        return
    match event.name:
        case "KVM_GET_XSAVE" | "KVM_GET_XSAVE2":
            if not _initial(written_image(event.output, state.host)):
                yield event.finding("fresh-vcpu", "INV-15", Claim.FRESH_IMAGE)
        case "KVM_GET_XCRS":
            if (xcr0 := xcr0_of(event.output)) != 1:
                yield event.finding("fresh-vcpu", "INV-15", Claim.FRESH_XCR0, {"value": xcr0 or 0})
        case _:
            return


def _initial(image: bytes) -> bool:
    expected = bytearray(len(image))
    expected[:2] = FCW_INIT.to_bytes(2, "little")
    expected[MXCSR.start : MXCSR.stop] = MXCSR_INIT.to_bytes(4, "little")
    for kept in (MXCSR_MASK, SOFTWARE_WORD):
        expected[kept.start : kept.stop] = image[kept.start : kept.stop]
    return bytes(expected) == image


def legal_header(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Expect no XCOMP_BV, reserved byte or component that KVM lacks to be accepted (INV-18)."""
    if event.name != "KVM_SET_XSAVE" or event.result != 0:
        return
    content = input_of(event.call, state.captured)
    if len(content) < EXTENDED_OFFSET:
        return
    if any(content[XCOMP_BV.start : EXTENDED_OFFSET]):
        yield event.finding("legal-header", "INV-18", Claim.ILLEGAL_HEADER)
    beyond = xstate_bv(content) & ~state.host.kvm_xcr0 & ~FPSSE
    if beyond:
        yield event.finding(
            "legal-header", "INV-18", Claim.UNSUPPORTED_COMPONENTS, {"bits": beyond}
        )
