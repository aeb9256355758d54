"""Lowered calls with which scenarios of the raw worker begin, and the two of an XSAVE image."""

from __future__ import annotations

import struct

from kvmprobe.abi import ioctls
from kvmprobe.scenarios.calls import MAIN, Captured, Immediate, Ioctl, MapPayload, OpenKvm, Output

OPEN, CREATE_VM = OpenKvm("kvm"), Ioctl(ioctls.CREATE_VM.number, "kvm", Immediate(0), "vm")
GET_API_VERSION = Ioctl(ioctls.GET_API_VERSION.number, "kvm", Immediate(0))
VCPU = (OPEN, CREATE_VM, Ioctl(ioctls.CREATE_VCPU.number, "vm", Immediate(0), "vcpu"))
SUPPORTED_CPUID = Output(8 + 40 * 256, struct.pack("=II", 256, 0), "cpuid")
WITH_CPUID = (
    *VCPU,
    Ioctl(ioctls.GET_SUPPORTED_CPUID.number, "kvm", SUPPORTED_CPUID),
    Ioctl(ioctls.SET_CPUID2.number, "vcpu", Captured("cpuid")),
)
PAYLOAD = (*WITH_CPUID, MapPayload("vm", "ram"))


def get_xsave(argument, by=MAIN):
    return Ioctl(ioctls.GET_XSAVE.number, "vcpu", argument, by=by)


def set_xsave(argument, by=MAIN):
    return Ioctl(ioctls.SET_XSAVE.number, "vcpu", argument, by=by)
