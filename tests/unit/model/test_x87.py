"""What a save keeps of x87 state: SDM vol.1 §13.5.1; APM vol.5 FXSAVE."""

import struct
from dataclasses import replace

import pytest

from kvmprobe.model.outcome import OneOf
from kvmprobe.model.run import run_until_halt
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from tests.support.hosts import AMX_HOST, VCPU, image, machine_with_vcpu


def with_pointers(fop, fip, fdp):
    # SDM vol.1 table 10-2: FOP at 6, FIP at 8, FDP at 16.
    return image(0x1, {0: b"\x7f\x03\0\0\0\0" + struct.pack("<HQQ", fop, fip, fdp) + bytes(128)})


def open_pointers(given, host=AMX_HOST):
    machine = set_xsave(machine_with_vcpu(host), VCPU, given).machine
    machine = run_until_halt(machine, VCPU).machine
    outcome = get_xsave2(machine, VCPU).outcome
    choices = outcome.choices if isinstance(outcome, OneOf) else (outcome,)
    return any(u.offset == 6 for choice in choices for u in choice.image.unspecified)


def host_of(vendor):
    """A host whose CPUID has this vendor."""
    names = (int.from_bytes(vendor[at : at + 4], "little") for at in (0, 8, 4))
    leaf = CpuidEntry(0, 0, 0, 0x20, *names)
    others = [entry for entry in AMX_HOST.supported.entries if entry.leaf]
    return replace(AMX_HOST, supported=CpuidTable((leaf, *others)))


# The last: 0x7fff... and 0xffff8... are the ends of the canonical halves with 48 bits.
KEPT = [(0x7FF, 0, 0), (1, 0x1000, 0x2000), (0, (1 << 47) - 1, (1 << 64) - (1 << 47))]


@pytest.mark.parametrize("pointers", KEPT)
def test_x87_pointers_are_kept_by_a_processor_that_saves_them(pointers):
    assert not open_pointers(with_pointers(*pointers))


@pytest.mark.parametrize("pointers", [(0x800, 0, 0), (0, 1 << 47, 0), (0, 0, 1 << 63)])
def test_x87_pointers_that_no_register_can_have_are_open(pointers):
    assert open_pointers(with_pointers(*pointers))


@pytest.mark.parametrize(
    ("vendor", "is_open"),
    [(b"AuthenticAMD", True), (b"HygonGenuine", True), (b"GenuineIntel", False)],
)
def test_amd_saves_them_with_an_exception_pending_alone(vendor, is_open):
    # APM vol.5 FXSAVE; tests/lab/silicon.json 0x00b00f21: with RstrFpErrPtrs it writes 0.
    assert open_pointers(with_pointers(*KEPT[1]), host_of(vendor)) == is_open
