"""Planted faults: what a correct kernel answers, with one reply made wrong, and who must catch it.

A fault is wrong in one reply; what a kernel with that fault would answer later is left as it was.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping  # noqa: TC003
from dataclasses import dataclass, field, replace

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KvmExit, Msr
from kvmprobe.checkers.event import Lowered
from kvmprobe.checkers.observed import ObservedState
from kvmprobe.checkers.session import CHECKERS, Checkers
from kvmprobe.model.cpuid import supported_table
from kvmprobe.results.trace import RegisterChange, Reply
from kvmprobe.scenarios import relations
from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.catalog._guests import TILES, USE_XSAVE
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops import Op  # noqa: TC001
from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.guest_control import GuestXgetbv
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetMsrs, SetXfd
from kvmprobe.scenarios.ops.permission import GetGuestPermission, RequestGuestPermission
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import GetRegs, GetVcpuEvents, SetRegs, SetVcpuEvents
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave, GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import XFeature
from tests.support.fake_kernel import trace_of, with_reply
from tests.support.hosts import AMX_HOST, B17, B18
from tests.support.hosts import TILES as XTILE

ASK = RequestGuestPermission(18)
VCPU = (OpenKvm(), CreateVm(), CreateVcpu())
GUEST = (ASK, *VCPU, GetSupportedCpuid(), SetCpuid2(Table.FULL))
PAYLOAD = (*TILES.ops, USE_XSAVE)
# Offsets in the images: SDM vol.1 13.4; in struct kvm_xcrs: the value of the first register; in
# the payload's result block: RAX (kvmprobe/abi/payload.py).
# In struct kvm_regs: RBX; in struct kvm_sregs: CR2.
RBX, CR2 = 8, ioctls.KVM_SREGS.offset("cr2")
PAT = Msr.IA32_PAT
# SDM vol.3 §31.4 "VM Instruction Error Numbers": VM entry with invalid control fields; §28.8
# "VM-Entry Failures During or After Loading Guest State": invalid guest state.
CONTROL_FIELDS, GUEST_STATE = 7, 0x8000_0021
XMM0, RESERVED, XSTATE_BV, XCR0, RAX = 160, 416, 512, 16, 32


@dataclass(frozen=True)
class Fault:
    """One wrong reply.

    :ivar checker: name of the check that catches it
    :ivar ops: what is called; the reply to the last one is wrong
    :ivar result: the wrong result
    :ivar patches: wrong bytes by their offset in the output
    :ivar changes: of the calling thread's registers, by the call
    :ivar other_changes: of the competing task's registers, during the call
    :ivar also: other checks that catch it, with the reason
    """

    checker: str
    ops: tuple[Op, ...]
    result: int | None = None
    patches: Mapping[int, bytes] = field(default_factory=dict)
    changes: tuple[RegisterChange, ...] = ()
    other_changes: tuple[RegisterChange, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)

    @property
    def scenario(self):
        return Scenario("planted", "", "", tuple(ScenarioStep(op) for op in self.ops))

    def plant(self, trace):
        """The trace with the wrong reply."""
        last = len(trace.steps) - 1
        wrong = changed(trace.steps[-1].replies[0], self)
        wrong = replace(wrong, changes=self.changes, other_changes=self.other_changes)
        return with_reply(trace, last, 0, wrong)


@dataclass(frozen=True)
class PairFault:
    """A wrong reply that shows only where two scenarios are compared.

    :ivar checker: the name that its findings have
    :ivar place: step and position of the wrong reply in the second scenario
    """

    checker: str
    first: Scenario
    second: Scenario
    place: tuple[int, int]
    result: int | None = None
    patches: Mapping[int, bytes] = field(default_factory=dict)

    def plant(self, trace):
        """The second scenario's trace with the wrong reply."""
        step, position = self.place
        return with_reply(trace, step, position, changed(trace.steps[step].replies[position], self))


def changed(reply, fault):
    output = bytearray(reply.output or b"")
    for offset, content in fault.patches.items():
        output[offset : offset + len(content)] = content
    return Reply(reply.result if fault.result is None else fault.result, bytes(output) or None)


def u64(value):
    return struct.pack("<Q", value)


def observed(name, *ops):
    """A scenario that reads XSTATE and XCR0 after each of these ops."""
    start = (ScenarioStep(op) for op in GUEST)
    reads = (GetXsave2(), GetXcrs())
    return Scenario(name, name, "", (*start, *(ScenarioStep(op, reads) for op in ops)))


# struct kvm_cpuid2: 8 bytes, then entries of 40 with EAX at 12.
_LEAVES = [entry[:2] for entry in supported_table(AMX_HOST, 0x2E7).entries]
EAX_OF_XSTATE = 8 + 40 * _LEAVES.index((0xD, 0)) + 12
# What a faulty kernel does to the registers of the thread that calls KVM_RUN: a row of a tile,
# PKRU or MXCSR is the guest's; with XFD armed, XSAVE stores no tiles (SDM vol.1 §13.14).
TILE_DATA = AMX_HOST.layout.component(XFeature.XTILE_DATA)
PKRU = AMX_HOST.layout.component(XFeature.PKRU)
LEFT_BEHIND = {
    "tile row": RegisterChange(TILE_DATA.offset + 64, b"\x11" * 16, b"\x81" * 16),
    "PKRU": RegisterChange(PKRU.offset, b"\xff" * 4, b"\x40\x55\x55\x55"),
    "MXCSR": RegisterChange(24, b"\xc0\x9f\0\0", b"\xa0\x1f\0\0"),
    "armed XFD": RegisterChange(TILE_DATA.offset, b"\x11" * 16, bytes(16)),
}
SAME_IMAGE = "the same bytes are read after KVM_SET_XSAVE"
FAULTS = (
    Fault("steadiness", (*GUEST, GetXcrs(), SetXcrs(5), GetXcrs()), patches={XCR0: u64(3)},
          also={"set_and_get": "KVM_SET_XCRS of the value read back was never accepted"}),
    Fault("fpu_and_xsave", (*GUEST, SetXsave(3), GetXsave2(), GetFpu()), patches={XMM0: b"\0"}),
    Fault("xsave_and_xsave2", (*VCPU, SetXsave(3), GetXsave2(), GetXsave()),
          patches={XMM0: b"\0"}, also={"restored_and_saved": SAME_IMAGE}),
    Fault("set_and_get", (*GUEST, SetXfd(B18), GetXfd()), patches={16: u64(0)}),
    Fault("restored_and_saved", (*GUEST, SetXsave(3), GetXsave2()), patches={XMM0: b"\0"}),
    Fault("xstate_and_xfd", (*GUEST, SetXsave(XTILE | 3), SetXfd(B18), GetXfd(), GetXsave2()),
          patches={XSTATE_BV: u64(XTILE | 3)}),
    Fault("guest_and_host", (*PAYLOAD, SetXcrs(7), GuestXgetbv(0)), patches={RAX: u64(3)}),
    Fault("advertised_is_accepted", (*GUEST[:-1], SetCpuid2(), SetXcrs(0x602E7)),
          result=-errno.EINVAL),
    Fault("listed_is_readable", (*VCPU, GetXfd()), result=0),
    Fault("image_form", (*GUEST, GetXsave2()), patches={RESERVED: b"\1"}),
    Fault("old_get_xsave", (*GUEST, GetXsave()), result=-errno.EPERM),
    Fault("fresh_vcpu", (*VCPU, GetXsave2()), patches={XMM0: b"\1"}),
    Fault("legal_header", (*GUEST, SetXsave(1 << 62)), result=0),
    Fault("requests", (ASK,), result=-errno.ENOSPC),
    Fault("bitmaps", (ASK, GetGuestPermission()), patches={0: u64(1 << 63 | 0x602E7)}),
    Fault("growth", (ASK, *VCPU, CheckXsave2(), CheckXsave2()), result=4096,
          also={"steadiness": "the same read twice, and no call in between"}),
    Fault("sizes", (*VCPU, GetSupportedCpuid(), CheckXsave2()), result=8192),
    Fault("supported_table", (OpenKvm(), GetSupportedCpuid()),
          patches={EAX_OF_XSTATE: struct.pack("<I", 0x2E7 | B17)}),
    Fault("unpermitted", (*VCPU, SetCpuid2(Table.FULL)), result=0),
    Fault("other_memory",
          (*VCPU, SpawnTask("fork", Relation.FORK), CreateVcpu(vcpu="vcpu1", id=1, by="fork")),
          result=7),
    Fault("what_is_accepted_returns", (*VCPU, GetRegs(), SetRegs(5), GetRegs()),
          patches={RBX: u64(4)}),
    Fault("what_is_read_stays", (*VCPU, GetRegs(), GetRegs()), patches={RBX: u64(4)}),
    Fault("sregs_and_sregs2", (*VCPU, GetSregs(), GetSregs2()), patches={CR2: u64(4)}),
    Fault("list_and_one_reg", (*VCPU, GetMsrs((PAT,)), GetMsrs((PAT,))), patches={16: u64(6)}),
    Fault("what_is_written_reads_back", (*VCPU, SetMsrs(((PAT, 4),)), GetMsrs((PAT,))),
          patches={16: u64(6)}),
    Fault("reserved_is_refused", (*VCPU, GetVcpuEvents(), SetVcpuEvents(1 << 31)), result=0),
    Fault("supported_is_accepted", (*VCPU, GetRegs(), SetRegs(5)), result=-errno.EINVAL),
    Fault("failed_entry_is_named", (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), RunUntilHalt()),
          patches={0: struct.pack("<I20xQ", KvmExit.FAIL_ENTRY, CONTROL_FIELDS)}),
    Fault("reset_state_is_entered",
          (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), GetSregs(), SetSregs(0), RunUntilHalt()),
          patches={0: struct.pack("<I20xQ", KvmExit.FAIL_ENTRY, GUEST_STATE)}),
    *(Fault("registers_are_kept", (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), RunUntilHalt()),
            changes=(change,)) for change in LEFT_BEHIND.values()),
    Fault("registers_are_kept", (*GUEST, SetXfd(B18)), changes=(LEFT_BEHIND["armed XFD"],)),
    *(Fault("others_keep_registers",
            (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), RunUntilHalt()),
            other_changes=(change,)) for change in LEFT_BEHIND.values()),
)  # fmt: skip


ONE_ORDER = observed("planted.one", SetXsave(3), SetXcrs(7))
OTHER_ORDER = observed("planted.other", SetXcrs(7), SetXsave(3))
LAST = len(ONE_ORDER.steps) - 1
TWICE = relations.derive(ONE_ORDER, f"twice-{LAST}")
LIVE = relations.derive(ONE_ORDER, "host-live-tiles")
COMPETING = relations.derive(ONE_ORDER, "competing-tiles")
MOVED = relations.derive(ONE_ORDER, f"moved-vcpu-{LAST}")
PAIRS = (
    PairFault("order-independence", ONE_ORDER, OTHER_ORDER, (LAST, 1), patches={XMM0: b"\0"}),
    PairFault(
        "observation",
        ONE_ORDER,
        relations.derive(ONE_ORDER, "blind"),
        (LAST, 0),
        result=-errno.EINVAL,
    ),
    PairFault("repetition", ONE_ORDER, TWICE, (LAST + 1, 0), result=-errno.EINVAL),
    # The thread's row of a tile in the guest's image.
    PairFault(
        "host-registers",
        ONE_ORDER,
        LIVE,
        (LAST + 1, 1),
        patches={XSTATE_BV: u64(B18 | 3), TILE_DATA.offset + 64: b"\x52" * 64},
    ),
    # The competing process's row of a tile in the guest's image.
    PairFault(
        "competition",
        ONE_ORDER,
        COMPETING,
        (LAST + 1, 1),
        patches={XSTATE_BV: u64(B18 | 3), TILE_DATA.offset + 64: b"\x32" * 64},
    ),
    PairFault("move", ONE_ORDER, MOVED, (len(MOVED.steps) - 1, 1), patches={XMM0: b"\0"}),
)


def caught(scenario, trace):
    """Names of the checks that find something in one trace."""
    state, lowered = ObservedState(AMX_HOST), Lowered(AMX_HOST)
    found = set()
    for event in lowered.events(scenario, trace):
        for checker in CHECKERS:
            if event.name in checker.calls and any(checker.check(event, state)):
                found.add(checker.check.__name__)
        state.update(event)
    return found


def caught_across(first, second, plant=lambda trace: trace):
    """Names of the findings in the second of two scenarios, whose trace ``plant`` has changed."""
    checkers = Checkers(AMX_HOST)
    checkers.across(first, trace_of(first, AMX_HOST), ())
    found = checkers.across(second, plant(trace_of(second, AMX_HOST)), ())
    return {finding.checker for finding in found}
