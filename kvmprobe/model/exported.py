"""What KVM_GET_XSAVE and KVM_GET_XSAVE2 show of a guest's fpstate."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.model import fpstate
from kvmprobe.model.outcome import Done, ExpectedImage, OneOf, Outcome, Unspecified
from kvmprobe.xstate.features import FPSSE, SSE_YMM, XFeature, numbers
from kvmprobe.xstate.image import FP_INIT, XsaveFields, encode, significant_x87
from kvmprobe.xstate.layout import HEADER_OFFSET, MXCSR, X87_ENVIRONMENT, X87_REGISTERS

if TYPE_CHECKING:
    from kvmprobe.model.fpstate import Fpstate
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.xstate.layout import Layout

_POINTERS = range(6, 24)
_ST_PADDING = bytes(10) + b"\xff" * 6


def exported(host: HostProfile, vcpu: Vcpu) -> Outcome:
    """Return the image of what the guest has; components hidden from it read as INIT.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    choices = tuple(Done(image=image) for image in images(host, vcpu))
    if len(choices) == 1:
        return choices[0]
    # UNSPECIFIED: XINUSE[i] of SDM vol.1 §13.6; of PKRU it is the host's.
    return OneOf(choices, "components that XSAVES finds in use, and what is exported with them")


def images(host: HostProfile, vcpu: Vcpu) -> tuple[ExpectedImage, ...]:
    """Return the images that are legal, by what is decided of the components that are open.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    visible = visible_features(vcpu)
    return tuple(
        _image(host, decided, visible, stored, vcpu.pkru)
        for decided in fpstate.resolved(host, vcpu.fpstate, visible, vcpu.pkru)
        for stored in fpstate.exported_mxcsr(host, decided, visible)
    )


def visible_features(vcpu: Vcpu) -> int:
    """Return the components that are not hidden from user space.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xsave2
    """
    return vcpu.fpstate.user_xfeatures & (vcpu.guest_xcr0 | FPSSE)


def _image(
    host: HostProfile, held: Fpstate, visible: int, stored: tuple[int, int], pkru: int
) -> ExpectedImage:
    xstate_bv = held.xstate_bv & visible
    contents = tuple([(nr, _content(host, held, nr, pkru)) for nr in numbers(xstate_bv)])
    image = _encoded(host.layout, held.uabi_size, host.user_features, xstate_bv, stored, contents)
    return ExpectedImage(image, _unspecified(host, held, visible))


@lru_cache(maxsize=512)
def _encoded(
    layout: Layout,
    size: int,
    software_word: int,
    xstate_bv: int,
    stored: tuple[int, int],
    contents: tuple[tuple[int, bytes], ...],
) -> bytes:
    """Return an image; those of different states are often equal, and then one object."""
    mxcsr, mxcsr_mask = stored
    fields = XsaveFields(
        xstate_bv=xstate_bv,
        contents={XFeature.FP: FP_INIT, **dict(contents)},
        mxcsr=mxcsr,
        mxcsr_mask=mxcsr_mask,
        software_word=software_word,
    )
    return encode(fields, layout, size)


def _content(host: HostProfile, held: Fpstate, nr: int, pkru: int) -> bytes:
    if nr == XFeature.PKRU:
        return pkru.to_bytes(host.layout.component(nr).size, "little")
    return fpstate.content(host, held, nr)


def _unspecified(host: HostProfile, held: Fpstate, visible: int) -> tuple[Unspecified, ...]:
    found: list[Unspecified] = []
    open_bits = held.xstate_bv_open & visible
    if open_bits:
        # UNSPECIFIED: SDM vol.1 §13.6: a CPU may or may not track that a component is INIT.
        bits = open_bits.to_bytes(8, "little")
        found.append(Unspecified(HEADER_OFFSET, bits, "XINUSE of components in INIT state"))
    stored = held.xstate_bv & visible & SSE_YMM
    if stored and held.saved and held.mxcsr_mask != host.mxcsr_mask:
        # UNSPECIFIED: XSAVES rewrites MXCSR_MASK only if it finds SSE modified.
        found.append(Unspecified(MXCSR.stop, b"\xff" * 4, "MXCSR_MASK after a save by hardware"))
    if held.saved:
        found += x87_unspecified(fpstate.content(host, held, XFeature.FP))
    return tuple(found)


@lru_cache(maxsize=256)
def x87_unspecified(content: bytes) -> tuple[Unspecified, ...]:
    """Return what hardware need not keep of an FP content; places as in an XSAVE image.

    :see: SDM vol.1 table 10-2 "Format of an FXSAVE Area"
    """
    found: list[Unspecified] = []
    significant = significant_x87(content)
    if content[:6] != significant[:6]:
        # UNSPECIFIED: reserved bits of FCW, the byte after FTW.
        reserved = b"\xc0\xe0\x00\x00\x00\xff"
        found.append(Unspecified(0, reserved, "reserved bits of the x87 environment"))
    if any(content[_POINTERS.start : _POINTERS.stop]):
        # UNSPECIFIED: AMD saves FOP, FIP and FDP only with an x87 exception pending.
        bits = b"\xff" * len(_POINTERS)
        found.append(Unspecified(_POINTERS.start, bits, "x87 pointers after a save by hardware"))
    if content[len(X87_ENVIRONMENT) :] != significant[len(X87_ENVIRONMENT) :]:
        # UNSPECIFIED: bytes 10-15 of each ST register are reserved.
        found.append(Unspecified(X87_REGISTERS.start, _ST_PADDING * 8, "padding of ST registers"))
    return tuple(found)
