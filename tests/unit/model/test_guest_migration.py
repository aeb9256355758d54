"""A vCPU's state in another vCPU: what GET gave, SET takes, in every order."""

from itertools import permutations

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpu import set_fpu
from kvmprobe.model.guest_control import nothing
from kvmprobe.model.guest_migration import Part, restore, save
from kvmprobe.model.lifecycle import create_vcpu
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.vcpu_state import GetRegs, SetRegs
from kvmprobe.xstate.features import XFeature
from tests.support.guests import ALL, OSXSAVE, in_payload, run, with_xfd
from tests.support.hosts import (
    AMX_HOST,
    AMX_LAYOUT,
    B9,
    B18,
    TILES,
    VCPU,
    image,
    machine_with_vcpu,
    with_behaviours,
    xstate_bv,
)

TARGET = "vcpu1"
ORDERS = list(permutations((Part.XSAVE, Part.XCRS, Part.MSRS)))
# struct kvm_fpu: XMM registers from 152.
AREA = b"\x7f\x03".join((bytes(128), bytes(22) + b"\x55" * 256 + bytes(8)))
CONTENTS = {17: b"\x14" * 64, 18: b"\x15" * 8192, 9: b"\x0c" + bytes(7)}


def moved(machine, *parts):
    """The target after these parts came to it, from a save of all."""
    for part in Part:
        machine = save(machine, VCPU, part).machine
    machine = create_vcpu(machine, TARGET, vm_name="vm1").machine
    source = machine.vcpu(VCPU)
    fresh = machine.vcpu(TARGET)
    machine = machine.with_vcpu(
        TARGET,
        fresh._replace(
            cpuid=source.cpuid,
            guest_xcr0=ALL,
            fpstate=fresh.fpstate._replace(
                user_xfeatures=source.fpstate.user_xfeatures,
                uabi_size=source.fpstate.uabi_size,
            ),
        ),
    )
    for part in parts:
        step = restore(machine, TARGET, part, VCPU)
        assert not isinstance(step.outcome, Failed)
        machine = step.machine
    return machine.vcpu(TARGET)


def with_tiles(**fields):
    machine = in_payload(**fields)
    return set_xsave(machine, VCPU, image(TILES | B9, CONTENTS)).machine


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_does_not_matter_for_what_a_kernel_gave(order):
    target = moved(run(with_tiles(xcr0=ALL), nothing), *order)
    assert (target.xcr0, target.xfd, target.fpstate.contents[18]) == (ALL, 0, CONTENTS[18])


@pytest.mark.parametrize("order", ORDERS)
def test_nor_while_xfd_is_armed(order):
    machine = run(with_tiles(), with_xfd(B18), lambda g: g.with_vcpu(g.vcpu._replace(xfd_err=B18)))
    target = moved(machine, *order)
    held = (target.fpstate.xstate_bv | target.fpstate.xstate_bv_open) & B18
    assert (target.xfd, target.xfd_err, held) == (B18, B18, 0)


def test_pkru_is_moved_in_the_image():
    assert moved(with_tiles(), Part.XSAVE).pkru == 0xC


def test_control_registers_are_moved_and_the_payload_goes_on():
    target = moved(with_tiles(), Part.SREGS, Part.REGS)
    assert (target.cr4, target.in_payload) == (0x620 | OSXSAVE, True)


def test_what_the_source_leaves_open_is_open_in_the_target():
    # after a run, XINUSE of a component in INIT state: SDM vol.1 §13.6
    machine = run(in_payload(), nothing)
    target = moved(machine, Part.XSAVE)
    assert (
        target.fpstate.xstate_bv & AMX_LAYOUT.bitmap & ~B9,
        target.fpstate.xstate_bv_open & 7,
    ) == (0, 7)


def test_what_may_be_in_the_image_may_be_in_the_target():
    # With O2, whether KVM_SET_FPU shows is the processor's choice once the guest's state was saved.
    host = with_behaviours(AMX_HOST, Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV)
    machine = set_fpu(run_immediate_exit(machine_with_vcpu(host), VCPU).machine, VCPU, AREA).machine
    machine = restore(save(machine, VCPU, Part.XSAVE).machine, VCPU, Part.XSAVE, VCPU).machine
    machine = run_immediate_exit(machine, VCPU).machine
    choices = get_xsave2(machine, VCPU).outcome.choices
    found = {
        (xstate_bv(c.image.image) & 3, c.image.image[160:416] == AREA[152:408]) for c in choices
    }
    assert {(0, False), (3, True)} <= found


def test_an_image_that_is_smaller_than_the_target_reads_is_restored():
    # The memory that the smaller image was read into is as large as the largest image.
    domain = Domain(AMX_HOST)
    for op in (
        RequestGuestPermission(XFeature.XTILE_DATA),
        OpenKvm(),
        CreateVm(),
        CreateVcpu(),
        SetCpuid2(Table.FULL),
        CreateVcpu("vcpu1", id=1),
        SaveVcpu(Part.XSAVE, "vcpu1"),
    ):
        domain.follow(op)
    sizes = {name: vcpu.fpstate.uabi_size for name, vcpu in domain.machine.vcpus.items()}
    assert sizes["vcpu1"] < sizes["vcpu0"]
    assert domain.follow(RestoreVcpu(Part.XSAVE, "vcpu0", "vcpu1")).outcome == Done()


def test_registers_of_another_vcpu_replace_those_that_were_set():
    # arch/x86/kvm/x86.c: __set_regs
    one, other = CreateVcpu(), CreateVcpu(TARGET, id=1)
    made = (OpenKvm(), CreateVm(), one, other, GetRegs(), SetRegs(rbx=1))
    domain = Domain(AMX_HOST)
    for op in (*made, SaveVcpu(Part.REGS, TARGET), RestoreVcpu(Part.REGS, VCPU, TARGET)):
        domain.follow(op)
    assert domain.follow(GetRegs()).outcome.fields["rbx"] == 0
