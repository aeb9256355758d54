"""The commands that ops of the guest give the payload: kvmprobe/abi/payload.py."""

import struct

import pytest

from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.guest_migration import Part
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.scenarios.calls import Captured, Ioctl, MapPayload, RunGuest, SharePayload
from kvmprobe.scenarios.ops import guest as ops
from kvmprobe.scenarios.ops import guest_control as control
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.guest_tiles import (
    Configuration,
    GuestLdtilecfg,
    GuestTileloadd,
    GuestTilestored,
)
from kvmprobe.scenarios.ops.guest_vector import GuestLoad, GuestStore
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor, GuestXsave, Supervisor
from kvmprobe.xstate import patterns
from tests.support.hosts import AMX_HOST, AMX_LAYOUT, B2, B17, B18, cet_host


def header(op):
    """Opcode, operand, RAX, RBX, RCX, RDX, offset."""
    return struct.unpack_from("<II5Q", op.lower(AMX_HOST).command)


def data(op):
    """What goes to the data area: behind the 64 bytes of the command."""
    return op.lower(AMX_HOST).command[64:]


def test_the_payload_is_mapped_and_shared_by_name():
    assert ops.MapPayload().lower(AMX_HOST) == MapPayload("vm", "payload")
    assert ops.SharePayload("vm1").lower(AMX_HOST) == SharePayload("vm1", "payload")


def test_a_command_runs_its_vcpu():
    call = control.GuestXgetbv(vcpu="vcpu1").lower(AMX_HOST)
    assert isinstance(call, RunGuest)
    assert (call.on, call.memory, call.data_size) == ("vcpu1", "payload", 0)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (control.GuestXgetbv(1), (PayloadOp.XGETBV, 0, 0, 0, 1, 0, 0)),
        (control.GuestXsetbv(1 << 63 | 7), (PayloadOp.XSETBV, 0, 7, 0, 0, 1 << 31, 0)),
        (control.GuestRdmsr(0x1C4), (PayloadOp.RDMSR, 0, 0, 0, 0x1C4, 0, 0)),
        (control.GuestWrmsr(0x1C5, B18), (PayloadOp.WRMSR, 0, B18, 0, 0x1C5, 0, 0)),
        (control.GuestCpuidLeaf(0xD, 1), (PayloadOp.CPUID, 0, 0xD, 0, 1, 0, 0)),
        (control.GuestWriteCr4(0x620), (PayloadOp.WRITE_CR4, 0, 0x620, 0, 0, 0, 0)),
        (GuestTileloadd(5), (PayloadOp.TILELOADD, 5, 0, 0, 0, 64, 0)),
        (
            GuestXsave(SaveForm.XSAVEC, rfbm=1 << 63 | 2, offset=8),
            (PayloadOp.XSAVEC64, 0, 2, 0, 0, 1 << 31, 8),
        ),
    ],
    ids=lambda value: value.text if hasattr(value, "text") else "",
)
def test_operands_are_in_their_registers(op, expected):
    assert header(op) == expected


def test_the_patterns_of_all_tiles_make_tile_data():
    rows = b"".join(data(GuestTileloadd(tile)) for tile in range(8))
    assert rows == patterns.content(18, AMX_LAYOUT)


def test_a_loaded_zmm_register_has_the_patterns_of_its_components():
    # ZMM5 is bytes 320-383: XMM, the upper half of YMM, the upper half of ZMM
    zmm = data(GuestLoad(VectorFile.ZMM))[320:384]
    parts = [patterns.content(nr, AMX_LAYOUT)[5 * w :][:w] for nr, w in ((1, 16), (2, 16), (6, 32))]
    assert zmm == b"".join(parts)


def test_a_stored_file_comes_back_whole():
    sizes = {f: GuestStore(f).lower(AMX_HOST).data_size for f in VectorFile}
    assert sizes == {
        VectorFile.K: 64,
        VectorFile.XMM: 256,
        VectorFile.YMM: 512,
        VectorFile.ZMM: 2048,
    }


def test_memory_is_filled_before_a_tile_is_stored():
    assert data(GuestTilestored(0)) == b"\x5a" * 1024


def test_a_compacted_area_has_its_components_in_their_places():
    # YMM at 576, TILECFG at the next 64 bytes: 832
    area = data(GuestXrstor(B2 | B17, COMPACTED | B2 | B17, RestoreForm.XRSTORS))
    assert area[832:896] == patterns.content(17, AMX_LAYOUT)
    assert struct.unpack_from("<QQ", area, 512) == (B2 | B17, COMPACTED | B2 | B17)


@pytest.mark.parametrize(("supervisor", "zero"), [("zeros", True), ("pattern", False)])
def test_supervisor_components_follow_in_the_compacted_format(supervisor, zero):
    # SDM vol.1 13.5.9: U_CET, PL3_SSP at 832; PL0_SSP, PL1_SSP, PL2_SSP
    op = GuestXrstor(
        B2 | 0x1800,
        COMPACTED | B2 | 0x1800,
        RestoreForm.XRSTORS,
        supervisor=Supervisor(supervisor),
    )
    area = op.lower(cet_host(ibt=True)).command[64:]
    values = struct.unpack_from("<5Q", area, 832)
    assert (not any(values), len(set(values))) == ((True, 1) if zero else (False, 5))


def test_an_area_can_have_bits_that_no_component_has():
    assert struct.unpack_from("<Q", data(GuestXrstor(1 << 62)), 512) == (1 << 62,)


@pytest.mark.parametrize("configuration", Configuration)
def test_a_configuration_has_64_bytes(configuration):
    assert len(data(GuestLdtilecfg(configuration))) == 64


def test_what_was_saved_of_one_vcpu_is_restored_into_the_other():
    saved = SaveVcpu(Part.XSAVE, "vcpu0").lower(AMX_HOST)
    restored = RestoreVcpu(Part.XSAVE, "vcpu1", "vcpu0").lower(AMX_HOST)
    assert isinstance(saved, Ioctl)
    assert (restored.on, restored.argument) == ("vcpu1", Captured(saved.argument.capture))


def test_captures_of_two_vcpus_do_not_mix():
    names = {SaveVcpu(Part.MSRS, vcpu).lower(AMX_HOST).argument.capture for vcpu in ("a", "b")}
    assert len(names) == 2
