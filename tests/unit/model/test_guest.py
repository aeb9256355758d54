"""Entry and exit of a guest: kernel contract §8; live corrections 2 and 12; INV-39."""

import pytest

from kvmprobe.abi.payload import Registers
from kvmprobe.model import guest
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpu import set_fpu
from kvmprobe.model.guest_control import UD2, nothing, read_cr0, ud2
from kvmprobe.model.outcome import HostDies
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.xstate import fpu_area
from kvmprobe.xstate.image import init_content
from tests.support.guests import ALL, NONE, UD, in_payload, run, step, vector, with_xfd
from tests.support.hosts import (
    AMX_HOST,
    B0,
    B1,
    B2,
    B18,
    TILES,
    VCPU,
    amx_vcpu,
    image,
    with_behaviours,
)

LAYOUT = AMX_HOST.layout

CONTENTS = {17: b"\x11" * 64, 18: b"\x12" * 8192}


def restored(machine, xstate_bv, contents=None, **fields):
    return set_xsave(machine, VCPU, image(xstate_bv, contents, **fields)).machine


def test_an_entry_with_xstate_bv_under_an_armed_xfd_kills_the_host():
    # kernel contract 5.4: XRSTORS raises #NM in the host
    machine = in_payload(xstate_bv=B18, contents=CONTENTS, xfd=B18)
    assert isinstance(step(machine, nothing).outcome, HostDies)


def test_a_vcpu_that_comes_from_reset_has_the_payloads_control_registers():
    # kvmprobe/native/guest_payload.S: PG, WP, NE, ET, MP, PE; PAE, OSFXSR, OSXMMEXCPT
    fields = step(amx_vcpu(), nothing).outcome.fields
    assert (fields["cr0"], fields["cr4"]) == (0x8001_0033, 0x620)


def test_what_the_host_set_in_cr4_before_the_first_entry_is_gone():
    machine = in_payload(cr4=1 << 18, efer=0, in_payload=False)
    assert step(machine, nothing).machine.vcpu(VCPU).cr4 == 0x620


def test_an_entry_counts_as_a_run():
    assert run(in_payload(), nothing).vcpu(VCPU).ran


def test_no_exception_is_0x100():
    assert vector(in_payload(), nothing) == NONE


def test_an_exception_tells_its_vector_and_an_error_code_of_0():
    fields = step(in_payload(), ud2).outcome.fields
    assert (fields["vector"], fields["error_code"], fields["rip"]) == (UD, 0, 0)


def test_registers_are_as_they_were_at_an_exception():
    given = Registers(1, 2, 3, 4)
    fields = guest.execute(in_payload(), VCPU, given, ud2, UD2).outcome.fields
    assert [fields[name] for name in ("rax", "rbx", "rcx", "rdx")] == [1, 2, 3, 4]


def test_read_registers_are_told():
    assert step(in_payload(), read_cr0).outcome.fields["rax"] == 0x8001_0033


@pytest.mark.parametrize("nr", [0, 1, 2, 5, 6, 7, 17, 18])
def test_what_the_host_restored_is_in_the_guests_registers(nr):
    size = {0: 152, 1: 256, 2: 256, 5: 64, 6: 512, 7: 1024, 17: 64, 18: 8192}[nr]
    machine = restored(in_payload(), 1 << nr, {nr: b"\x5a" * size})
    entered = guest.entered(machine.host, machine.vcpu(VCPU), Registers())
    assert entered.content(nr) == b"\x5a" * size


def test_what_it_did_not_is_init_there():
    machine = restored(in_payload(), B1, {1: b"\x5a" * 256})
    entered = guest.entered(machine.host, machine.vcpu(VCPU), Registers())
    assert (entered.content(2), entered.content(0)[:2]) == (bytes(256), b"\x7f\x03")


@pytest.mark.parametrize(
    ("xstate_bv", "mxcsr"), [(B1, 0x1FA0), (B1 | B2, 0x1FA0), (B2, 0x1F80), (B0, 0x1F80)]
)
def test_mxcsr_reaches_the_guest_with_sse_alone(xstate_bv, mxcsr):
    # live correction 2: YMM without SSE stores MXCSR, and the guest has 0x1f80
    machine = restored(in_payload(), xstate_bv, {0: b"\x7f\x02" + bytes(150)}, mxcsr=0x1FA0)
    assert guest.entered(machine.host, machine.vcpu(VCPU), Registers()).mxcsr == mxcsr


def test_an_entry_that_touches_nothing_shows_what_was_restored():
    machine = restored(in_payload(guest_xcr0=ALL), TILES, CONTENTS)
    shown = get_xsave2(run(machine, nothing), VCPU).outcome.choices[0].image.image
    assert shown[2816:11008] == CONTENTS[18]


def test_what_an_armed_xfd_disables_is_saved_as_init():
    # SDM vol.1 §13.14: XSAVES saves bit i of XSTATE_BV as 0
    machine = restored(in_payload(), TILES, CONTENTS)
    armed = run(machine, with_xfd(B18)).vcpu(VCPU)
    assert not (armed.fpstate.xstate_bv | armed.fpstate.xstate_bv_open) & B18


def test_and_is_init_once_it_is_disarmed():
    machine = restored(in_payload(), TILES, CONTENTS)
    machine = run(machine, with_xfd(B18), with_xfd(0))
    entered = guest.entered(machine.host, machine.vcpu(VCPU), Registers())
    assert entered.content(18) == bytes(8192)


@pytest.mark.parametrize(("nr", "content"), [(0, b"\x7f\x02" + bytes(150)), (1, b"\x5a" * 256)])
def test_with_o2_what_set_fpu_writes_to_a_component_in_init_state_never_reaches_the_guest(
    nr, content
):
    # fuzz, seed 21, number 17: FLD, KVM_SET_FPU, FXSAVE; CPUs save INIT state with XSTATE_BV[i]=0
    defective = with_behaviours(AMX_HOST, Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV)
    machine = run(in_payload(host=defective), nothing)
    area = fpu_area.to_area(*(content if i == nr else init_content(i, LAYOUT) for i in (0, 1)))
    machine = set_fpu(machine, VCPU, area).machine
    entered = guest.entered(machine.host, machine.vcpu(VCPU), Registers())
    assert entered.content(nr) == init_content(nr, LAYOUT)


def test_what_set_fpu_writes_reaches_the_guest():
    machine = run(in_payload(), nothing)
    area = fpu_area.to_area(init_content(0, LAYOUT), b"\x5a" * 256)
    machine = set_fpu(machine, VCPU, area).machine
    entered = guest.entered(machine.host, machine.vcpu(VCPU), Registers())
    assert entered.content(1) == b"\x5a" * 256
