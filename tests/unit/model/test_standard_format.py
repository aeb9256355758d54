"""A fpstate in the standard format, on a processor without XSAVEC and XSAVES.

SDM vol.1 §13.8.1 "Standard Form of XRSTOR": MXCSR is loaded if RFBM has SSE or AVX, whatever
XSTATE_BV says.  §13.7 "Operation of XSAVE", §13.9 "Operation of XSAVEOPT": MXCSR and MXCSR_MASK are
written in the same case, and XSTATE_BV[1] is 1 if MXCSR is not 1F80H.
"""

from dataclasses import replace

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpstate import guest_mxcsr
from kvmprobe.model.guest_vector import stmxcsr
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.xstate.image import decode
from tests.support.guests import in_payload, memory
from tests.support.hosts import AVX512_HOST, VCPU, image, machine_with_vcpu

STANDARD = replace(AVX512_HOST, behaviours=frozenset({Behaviour.STANDARD_FORMAT}))
FP, SSE, YMM = 1, 2, 4
GIVEN, INIT = 0x1FA0, 0x1F80


def loaded(*images, host=STANDARD):
    machine = machine_with_vcpu(host)
    for given in images:
        machine = set_xsave(machine, VCPU, given).machine
    return run_immediate_exit(machine, VCPU).machine


def shown(machine):
    """What each legal image has: XSTATE_BV[1], MXCSR."""
    outcome = get_xsave2(machine, VCPU).outcome
    images = [choice.image for choice in getattr(outcome, "choices", (outcome,))]
    fields = [decode(each.image, machine.host.layout) for each in images]
    return {(each.xstate_bv & SSE, each.mxcsr) for each in fields}


@pytest.mark.parametrize("components", [FP, YMM, FP | YMM])
def test_mxcsr_without_sse_reaches_the_guest_and_comes_back_with_sse(components):
    assert shown(loaded(image(components, mxcsr=GIVEN))) == {(SSE, GIVEN)}


def test_mxcsr_of_an_earlier_image_comes_back_after_one_without_components():
    # copy_uabi_to_xstate leaves MXCSR in memory if the image has neither FP, SSE nor YMM.
    machine = loaded(image(SSE, mxcsr=GIVEN), image(0, mxcsr=INIT))
    assert shown(machine) == {(SSE, GIVEN)}


def test_an_mxcsr_of_1f80_does_not_set_the_bit():
    assert (SSE, GIVEN) not in shown(loaded(image(YMM, mxcsr=INIT)))


def test_xmm_registers_are_saved_as_init_with_it():
    (choice,) = {
        each.image.image for each in [get_xsave2(loaded(image(YMM, mxcsr=GIVEN)), VCPU).outcome]
    }
    # SDM vol.1 table 10-2 "Format of an FXSAVE Area": XMM0 to XMM15
    assert choice[160:416] == bytes(256)


def test_without_a_load_the_bit_is_as_given():
    machine = set_xsave(machine_with_vcpu(STANDARD), VCPU, image(YMM, mxcsr=GIVEN)).machine
    assert {bit for bit, _ in shown(machine)} == {0}


def test_the_compacted_format_loads_1f80_without_sse():
    machine = loaded(image(YMM, mxcsr=GIVEN), host=AVX512_HOST)
    assert guest_mxcsr(machine.host, machine.vcpu(VCPU).fpstate) == INIT


def test_the_guest_reads_it_with_stmxcsr():
    machine = in_payload()
    host = replace(machine.host, behaviours=STANDARD.behaviours)
    machine = set_xsave(machine._replace(host=host), VCPU, image(YMM, mxcsr=GIVEN)).machine
    assert memory(machine, stmxcsr)[:4] == GIVEN.to_bytes(4, "little")
