"""Guests that were saved on a kernel that does what the model says."""

import struct
from dataclasses import replace

from kvmprobe.abi import ioctls
from kvmprobe.abi.payload import PLACES
from kvmprobe.model.guest_migration import Part
from kvmprobe.moves.saved_guest import SavedGuest
from kvmprobe.moves.saving import saved, saving
from kvmprobe.recordings.payloads import pack
from kvmprobe.results.record import Target
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.presets import presets
from tests.support.fake_kernel import trace_of

ORDERS = {preset.name: preset for preset in presets()}


def saved_guest(host, order, use) -> SavedGuest:
    """The guest of a host, saved in an order; its RIP is in the payload, as a real one's."""
    scenario = saving(host, ORDERS[order], use)
    last = ModelRun(host).walked(scenario)[-1].step.machine
    guest = saved(
        host,
        scenario,
        trace_of(scenario, host, *host.behaviours),
        last.vcpu("vcpu0"),
        target=Target("lab", "7.3.4", "source"),
        processor="a processor",
    )
    regs = bytearray(ioctls.GET_REGS.size)
    struct.pack_into("=Q", regs, ioctls.KVM_REGS.offset("rip"), PLACES["CODE"])
    return replace(guest, parts={**guest.parts, Part.REGS: pack(bytes(regs))})
