"""What KVM_GET_XSAVE and KVM_GET_XSAVE2 show of a guest's fpstate."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.model import avx_left, fpstate, open_bits, x87
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Done, ExpectedImage, Outcome, Unspecified, one_of
from kvmprobe.xstate.features import FPSSE, SSE_YMM, XFeature, numbers
from kvmprobe.xstate.image import FP_INIT, XsaveFields, encode, xstate_bv_of
from kvmprobe.xstate.layout import HEADER_OFFSET, MXCSR

if TYPE_CHECKING:
    from kvmprobe.model.fpstate import Fpstate
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.xstate.layout import Layout


def exported(host: HostProfile, vcpu: Vcpu) -> Outcome:
    """Return the image of what the guest has; components hidden from it read as INIT.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    choices = tuple(Done(image=image) for image in images(host, vcpu))
    left = avx_left.may_show(host, vcpu.fpstate)
    return one_of(choices, Freedom.AVX_LEFT if left else Freedom.IN_USE_AND_EXPORTED)


def images(host: HostProfile, vcpu: Vcpu) -> tuple[ExpectedImage, ...]:
    """Return the images that are legal, by what is decided of the components that are open.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    visible = visible_features(vcpu) & ~_lost_pkru(host, vcpu)
    return tuple(
        _image(host, decided, visible, stored, vcpu.pkru)
        for decided in open_bits.resolved(host, vcpu.fpstate, visible, vcpu.pkru)
        for stored in open_bits.exported_mxcsr(host, decided, visible)
    )


def fullest_image(host: HostProfile, vcpu: Vcpu) -> bytes:
    """Return that of the legal images which has the most components in use.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    found = (expected.image for expected in images(host, vcpu))
    return max(found, key=lambda image: xstate_bv_of(image).bit_count())


def _lost_pkru(host: HostProfile, vcpu: Vcpu) -> int:
    """Return PKRU if the image lacks the guest's.

    PKRU has the host's value when the guest's fpstate is saved, and XSTATE_BV[9] is what that save
    found: clear if the value is INIT (SDM vol.1 §13.6).

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf;
        arch/x86/kvm/x86.c: kvm_load_host_xsave_state
    """
    lost = Behaviour.PKRU_BIT_OF_CALLER in host.behaviours
    if not lost or vcpu.caller is not HostRegisters.PKRU_INIT:
        return 0
    return vcpu.fpstate.xstate_bv_open & XFeature.PKRU.bit


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
        bits = open_bits.to_bytes(8, "little")
        found.append(Unspecified(HEADER_OFFSET, bits, Freedom.XINUSE_OF_INIT))
    stored = held.xstate_bv & visible & SSE_YMM
    if stored and held.saved and held.mxcsr_mask != host.mxcsr_mask:
        bits = (held.mxcsr_mask ^ host.mxcsr_mask).to_bytes(4, "little")
        found.append(Unspecified(MXCSR.stop, bits, Freedom.MXCSR_MASK))
    if held.saved:
        found += x87.unspecified(host, fpstate.content(host, held, XFeature.FP))
    return tuple(found)
