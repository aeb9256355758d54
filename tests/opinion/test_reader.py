"""The second model knows its rules, and does not guess."""

from __future__ import annotations

import errno
from itertools import combinations

from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.calls import Output
from kvmprobe.scenarios.ops.fpu import FpuContent, SetFpu
from kvmprobe.scenarios.ops.init_signal import LatchInit
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from tests.opinion import sdm
from tests.opinion.answer import NONE
from tests.opinion.reader import Reader
from tests.support.hosts import AMX_HOST

VCPU = (OpenKvm(), CreateVm(), CreateVcpu())
# SDM vol.1 table 10-2: FCW is the first field; XMM0 is at 160; 13.4.2: XSTATE_BV is at 512.
FCW, XMM0, XSTATE_BV = 0, 160, 512


def said_after(*ops):
    """The opinion of the last op; the replies before it are those of success."""
    reader = Reader(AMX_HOST)
    opinions = [reader.read(op.lower(AMX_HOST), successful(op)) for op in ops]
    return opinions[-1]


def successful(op):
    argument = getattr(op.lower(AMX_HOST), "argument", None)
    return Reply(0, bytes(argument.size) if isinstance(argument, Output) else None)


def known_at(opinion, offset):
    """What an opinion says of the parts with a byte: their bytes from there on, with the mask."""
    return [
        (part.value[offset - part.offset :], part.mask)
        for part in opinion.parts
        if part.offset <= offset < part.offset + len(part.value)
    ]


def test_as_many_values_of_xcr0_are_legal_as_the_sdm_allows():
    # x87 always; nothing, SSE, SSE and AVX, or those and AVX-512; each with or without MPX, PKRU
    # and both tile components.
    single = [1 << nr for nr in (*range(8), 9, 17, 18)]
    values = [sum(bits) for n in range(len(single) + 1) for bits in combinations(single, n)]
    assert sum(map(sdm.xcr0_is_legal, values)) == 4 * 2 * 2 * 2


def test_a_fresh_vcpu_has_x87_alone_in_xcr0():
    # SDM vol.3 table 11-1: XCR0 is 1 after power-up.
    assert known_at(said_after(*VCPU, GetXcrs()), 16)[0][0][:8] == b"\1" + bytes(7)


def test_a_vcpu_without_cpuid_has_no_sse_in_xcr0():
    refused = said_after(*VCPU, SetXcrs(3))
    assert refused.results == {-errno.EINVAL}


def test_permission_is_frozen_with_the_first_vcpu():
    # Documentation/arch/x86/xstate.rst, "Dynamic features for virtual machines"
    assert said_after(*VCPU, RequestGuestPermission(18)).results == {-errno.EBUSY}


def test_an_image_shows_the_registers_that_were_set():
    shown = said_after(*VCPU, SetXsave(3), GetXsave2())
    given = SetXsave(3).lower(AMX_HOST).argument.content
    assert known_at(shown, XMM0)[0][0] == given[XMM0:416]


def test_there_is_no_opinion_of_registers_that_kvm_set_fpu_wrote():
    given = SetFpu(FpuContent.FIRST)
    shown = said_after(*VCPU, SetXsave(3), given, GetXsave2())
    assert [known_at(shown, FCW), known_at(shown, XMM0)] == [[], []]


def test_there_is_no_opinion_of_the_bits_that_kvm_set_fpu_may_have_set():
    shown = said_after(*VCPU, SetXsave(3), SetFpu(FpuContent.FIRST), GetXsave2())
    masks = [mask[0] for _, mask in known_at(shown, XSTATE_BV)]
    assert [mask & 3 for mask in masks] == [0] * len(masks)


def test_there_is_no_opinion_of_a_vcpu_after_a_call_that_may_change_anything():
    assert said_after(*VCPU, LatchInit(), GetXsave2()) is NONE
