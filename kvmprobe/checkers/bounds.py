"""Rules for a single reply, which hold regardless of the calls before it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.checkers.checker import at
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
    from kvmprobe.checkers.observed import ObservedState, ObservedVcpu
    from kvmprobe.results.record import Finding
# Results of any call on a closed descriptor, and on one of another mm.
_UNUSABLE = {-errno.EBADF, -errno.EIO}


@at(*IMAGES)
def image_form(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check the size of an image, its reserved bytes, bytes 464-471 and XSTATE_BV.

    KVM must write exactly the documented size, reserved bytes must be 0, bytes 464-471 must be the
    host's user features, and XSTATE_BV must lie within the guest's CPUID (INV-14, INV-16, INV-17).
    """
    vcpu = state.vcpu(event)
    if vcpu is None or not event.output:
        return
    image = written_image(event.output, state.host)
    if not state.rewrites_cpuid:
        yield from _extent(event, state, vcpu, image)
    zeros = (
        (XMM_REGISTERS.stop, SOFTWARE_WORD.start),
        (SOFTWARE_WORD.stop, 512),
        (XCOMP_BV.start, EXTENDED_OFFSET),
    )
    for start, stop in zeros:
        if any(image[start:stop]):
            place = {"first": start, "last": stop - 1}
            yield event.finding("image-form", "INV-16", Claim.RESERVED_NOT_ZERO, place)
    word = u64(image, SOFTWARE_WORD.start)
    if word != state.host.user_features:
        yield event.finding("image-form", "INV-16", Claim.SOFTWARE_WORD, {"value": word})
    offered = (vcpu.table.xcr0 & state.host.kvm_xcr0 if vcpu.table else 0) | FPSSE
    if not state.rewrites_cpuid and (beyond := xstate_bv(image) & ~offered):
        yield event.finding("image-form", "INV-17", Claim.BEYOND_GUEST_CPUID, {"bits": beyond})


def _extent(
    event: Event, state: ObservedState, vcpu: ObservedVcpu, image: bytes
) -> Iterator[Finding]:
    if event.name == "KVM_GET_XSAVE":
        return
    size = state.host.uabi_size(state.host.kvm_xcr0) if vcpu.expanded else KVM_XSAVE_SIZE
    beyond = event.output[size:]
    if len(image) != size or beyond.count(CANARY) != len(beyond):
        written = len(event.output.rstrip(bytes([CANARY])))
        sizes = {"written": written, "size": size}
        yield event.finding("extent", "INV-14", Claim.EXTENT, {"call": event.name, **sizes})


@at("KVM_GET_XSAVE")
def old_get_xsave(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_GET_XSAVE succeeds until XTILE_DATA is enabled, and fails then (INV-13)."""
    vcpu = state.vcpu(event)
    if vcpu is None or event.result in _UNUSABLE:
        return
    expected = -errno.EINVAL if vcpu.expanded else 0
    if event.result not in {expected, -errno.EFAULT}:
        results = {"result": event.result, "expected": expected}
        yield event.finding("extent", "INV-13", Claim.OLD_GET_XSAVE, results)


@at("KVM_GET_XCRS", *IMAGES)
def fresh_vcpu(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a new vCPU has the architectural initial state (INV-15)."""
    vcpu = state.vcpu(event)
    if vcpu is None or vcpu.epoch or not event.output:
        return
    if event.name in IMAGES:
        if not _initial(written_image(event.output, state.host)):
            yield event.finding("fresh-vcpu", "INV-15", Claim.FRESH_IMAGE)
    elif (xcr0 := xcr0_of(event.output)) != 1:
        yield event.finding("fresh-vcpu", "INV-15", Claim.FRESH_XCR0, {"value": xcr0 or 0})


def _initial(image: bytes) -> bool:
    expected = bytearray(len(image))
    expected[:2] = FCW_INIT.to_bytes(2, "little")
    expected[MXCSR.start : MXCSR.stop] = MXCSR_INIT.to_bytes(4, "little")
    for kept in (MXCSR_MASK, SOFTWARE_WORD):
        expected[kept.start : kept.stop] = image[kept.start : kept.stop]
    return bytes(expected) == image


@at("KVM_SET_XSAVE")
def legal_header(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_SET_XSAVE refuses an illegal header (INV-18).

    Illegal are XCOMP_BV, reserved bytes, and components that KVM does not have.
    """
    if event.result != 0:
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
