"""The uabi image: KVM_SET_XSAVE and KVM_GET_XSAVE2.

Shaped like arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate and
arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf.  Leaves out hosts without XSAVE and
confidential guests.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import Done, ExpectedImage, Failed, OneOf, Outcome, Step, Unspecified
from kvmprobe.xstate.features import FPSSE, SSE_YMM, XFeature, numbers
from kvmprobe.xstate.image import (
    MXCSR_INIT,
    XsaveFields,
    contents_in,
    decode,
    encode,
    init_content,
)
from kvmprobe.xstate.layout import HEADER_OFFSET, MXCSR, X87_REGISTERS

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu

_MXCSR_USERS = XFeature.FP.bit | SSE_YMM
_ST_PADDING = bytes(10) + b"\xff" * 6


def set_xsave(machine: Machine, vcpu_name: str, image: bytes) -> Step:
    """KVM_SET_XSAVE: all checks precede any change; components not in XSTATE_BV become INIT.

    A component with XFD[i]=1 is dropped silently, as if its XSTATE_BV bit were clear.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_xsave;
        arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate;
        arch/x86/kernel/fpu/xstate.c: copy_uabi_to_xstate, validate_user_xstate_header
    """
    host, vcpu = machine.host, machine.vcpu(vcpu_name)
    given = decode(image[: vcpu.uabi_size], host.layout)
    xstate_bv = given.xstate_bv
    if Behaviour.SET_XSAVE_KEEPS_XFD_ARMED not in host.behaviours:
        xstate_bv &= ~vcpu.xfd
    rule = "KVM_SET_XSAVE (INV-18, INV-19, INV-28): core.c: fpu_copy_uabi_to_guest_fpstate"
    if _refused(host, vcpu, given, xstate_bv):
        return Step(machine, Failed(errno.EINVAL), rule)
    changes: dict[str, object] = {
        "xstate_bv": xstate_bv,
        "xstate_bv_open": 0,
        "saved": False,
        "contents": contents_in(xstate_bv, given),
    }
    if xstate_bv & _MXCSR_USERS:
        changes |= {"mxcsr": given.mxcsr, "mxcsr_mask": given.mxcsr_mask}
    if xstate_bv & XFeature.PKRU.bit:
        changes["pkru"] = struct.unpack_from("=I", given.contents[XFeature.PKRU])[0]
    return Step(machine.with_vcpu(vcpu_name, vcpu.but(**changes)), Done(), rule)


def _refused(host: HostProfile, vcpu: Vcpu, given: XsaveFields, xstate_bv: int) -> bool:
    return bool(
        xstate_bv & ~(host.kvm_xcr0 & vcpu.user_xfeatures)
        or given.xcomp_bv
        or any(given.reserved)
        or (xstate_bv & _MXCSR_USERS and given.mxcsr & ~host.mxcsr_mask)
    )


def get_xsave2(machine: Machine, vcpu_name: str) -> Step:
    """KVM_GET_XSAVE2: exactly ``uabi_size`` bytes; components hidden from the guest read as INIT.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    vcpu = machine.vcpu(vcpu_name)
    rule = (
        "KVM_GET_XSAVE2 (INV-14 to INV-17, INV-20 to INV-22): xstate.c: __copy_xstate_to_uabi_buf"
    )
    return Step(machine, _exported(machine.host, vcpu), rule)


def _exported(host: HostProfile, vcpu: Vcpu) -> Outcome:
    visible = vcpu.user_xfeatures & (vcpu.guest_xcr0 | FPSSE)
    pkru = visible & XFeature.PKRU.bit
    if not vcpu.xstate_bv_open & pkru or not vcpu.pkru:
        return _image(host, vcpu, visible)
    with_pkru = vcpu.but(
        xstate_bv=vcpu.xstate_bv | pkru, xstate_bv_open=vcpu.xstate_bv_open & ~pkru
    )
    without = vcpu.but(xstate_bv_open=vcpu.xstate_bv_open & ~pkru)
    choices = (_image(host, with_pkru, visible), _image(host, without, visible))
    # UNSPECIFIED: the host's PKRU decides whether XSAVES marked PKRU in use.
    return OneOf(choices, "XSTATE_BV[9] after KVM_RUN follows the host's PKRU")


def _image(host: HostProfile, vcpu: Vcpu, visible: int) -> Done:
    xstate_bv = vcpu.xstate_bv & visible
    open_bits = vcpu.xstate_bv_open & visible
    contents = {nr: _content(host, vcpu, nr) for nr in numbers(xstate_bv)}
    contents.setdefault(XFeature.FP, init_content(XFeature.FP, host.layout))
    stored = bool(xstate_bv & SSE_YMM)
    image = encode(
        XsaveFields(
            xstate_bv=xstate_bv,
            contents=contents,
            mxcsr=vcpu.mxcsr if stored else MXCSR_INIT,
            mxcsr_mask=vcpu.mxcsr_mask if stored else host.mxcsr_mask,
            software_word=host.user_features,
        ),
        host.layout,
        vcpu.uabi_size,
    )
    expected = ExpectedImage(image, _unspecified(host, vcpu, open_bits, stored))
    return Done(image=expected)


def _content(host: HostProfile, vcpu: Vcpu, nr: int) -> bytes:
    if nr == XFeature.PKRU:
        size = host.layout.component(nr).size
        return struct.pack("=I", vcpu.pkru) + bytes(size - 4)
    return vcpu.contents.get(nr, init_content(nr, host.layout))


def _unspecified(
    host: HostProfile,
    vcpu: Vcpu,
    open_bits: int,
    stored: bool,  # noqa: FBT001 - private, one caller
) -> tuple[Unspecified, ...]:
    found: list[Unspecified] = []
    if open_bits:
        # UNSPECIFIED: SDM vol.1 §13.6: a CPU may or may not track that a component is INIT.
        bits = open_bits.to_bytes(8, "little")
        found.append(Unspecified(HEADER_OFFSET, bits, "XINUSE of components in INIT state"))
    mxcsr_differs = (vcpu.mxcsr, vcpu.mxcsr_mask) != (MXCSR_INIT, host.mxcsr_mask)
    if not stored and open_bits & SSE_YMM and mxcsr_differs:
        # UNSPECIFIED: whether the stored MXCSR is exported follows the open SSE and YMM bits.
        found.append(Unspecified(MXCSR.start, b"\xff" * 8, "MXCSR follows XINUSE of SSE and YMM"))
    if stored and vcpu.saved and vcpu.mxcsr_mask != host.mxcsr_mask:
        # UNSPECIFIED: XSAVES rewrites MXCSR_MASK only if it finds SSE modified.
        found.append(Unspecified(MXCSR.stop, b"\xff" * 4, "MXCSR_MASK after a save by hardware"))
    if vcpu.saved and vcpu.xstate_bv & XFeature.FP.bit:
        found += _x87_unspecified(vcpu)
    return tuple(found)


def _x87_unspecified(vcpu: Vcpu) -> list[Unspecified]:
    content = vcpu.contents.get(XFeature.FP, b"")
    found: list[Unspecified] = []
    if any(content[6:24]):
        # UNSPECIFIED: AMD saves FOP, FIP and FDP only with an x87 exception pending.
        found.append(Unspecified(6, b"\xff" * 18, "x87 pointers after a save by hardware"))
    if any(content[24 + 16 * st + byte] for st in range(8) for byte in range(10, 16) if content):
        # UNSPECIFIED: bytes 10-15 of each ST register are reserved.
        found.append(Unspecified(X87_REGISTERS.start, _ST_PADDING * 8, "padding of ST registers"))
    return found
