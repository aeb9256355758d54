"""SSE, AVX and AVX-512 in a guest: SDM vol.1 §10.2, §14.1; vol.2 table 2-18 ff."""

import struct
from functools import partial

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.model import guest_vector as vectors
from kvmprobe.model.guest_vector import VectorFile
from tests.support.guests import GP, NM, NONE, UD, in_payload, memory, run, vector
from tests.support.hosts import B1, VCPU, with_fields

TS, EM = {"cr0": 0x8001_003B}, {"cr0": 0x8001_0037}
PATTERN = {file: bytes(n % 251 + 1 for n in range(file.size)) for file in VectorFile}
LOADS = {file: partial(vectors.load, file=file, registers=PATTERN[file]) for file in VectorFile}
STORES = {file: partial(vectors.store, file=file) for file in VectorFile}
each_file = pytest.mark.parametrize("file", VectorFile)


# XCR0 that a file's instructions need, without its highest bit.
TOO_LITTLE = {VectorFile.YMM: 0x3, VectorFile.ZMM: 0x67, VectorFile.K: 0x7}


@each_file
def test_what_was_loaded_is_stored(file):
    assert memory(run(in_payload(), LOADS[file]), STORES[file]) == PATTERN[file]


@pytest.mark.parametrize(
    ("file", "sizes"),
    [
        (VectorFile.XMM, {1: 256}),
        (VectorFile.YMM, {1: 256, 2: 256}),
        (VectorFile.ZMM, {1: 256, 2: 256, 6: 512, 7: 1024}),
        (VectorFile.K, {5: 64}),
    ],
)
def test_it_lies_in_the_files_components(file, sizes):
    # SDM vol.1 §13.5: XMM, the upper halves of YMM0-15, of ZMM0-15, ZMM16-31, and k0-7
    contents = run(in_payload(), LOADS[file]).vcpu(VCPU).fpstate.contents
    assert {nr: len(content) for nr, content in contents.items()} == sizes


def test_a_ymm_register_is_split_between_sse_and_ymm_state():
    # YMM3 is bytes 96-127 of the file
    contents = run(in_payload(), LOADS[VectorFile.YMM]).vcpu(VCPU).fpstate.contents
    assert contents[1][48:64] + contents[2][48:64] == PATTERN[VectorFile.YMM][96:128]


def test_zmm16_lies_in_hi16_zmm_alone():
    contents = run(in_payload(), LOADS[VectorFile.ZMM]).vcpu(VCPU).fpstate.contents
    assert contents[7][:64] == PATTERN[VectorFile.ZMM][1024:1088]


def test_loading_ymm_clears_the_rest_of_zmm():
    machine = run(in_payload(), LOADS[VectorFile.ZMM], LOADS[VectorFile.YMM])
    assert 6 not in machine.vcpu(VCPU).fpstate.contents


@pytest.mark.parametrize("instruction", [LOADS[VectorFile.YMM], vectors.vzeroupper])
def test_what_clears_ymm_is_not_judged_above_it_while_xcr0_lacks_avx512(instruction):
    # SDM vol.2 §3.1.1: MAXVL follows XCR0.  The emulator clears ZMM_HI256 all the same.
    machine = run(in_payload(), LOADS[VectorFile.ZMM])
    with pytest.raises(NotModelled, match="XCR0 lacks AVX-512"):
        run(with_fields(machine, xcr0=0x7), instruction)


def test_without_avx512_in_xcr0_ymm_is_loaded_beside_zmm_in_init_state():
    machine = run(in_payload(xcr0=0x7), LOADS[VectorFile.YMM])
    assert machine.vcpu(VCPU).fpstate.contents.keys() == {1, 2}


def test_loading_xmm_leaves_the_rest():
    machine = run(in_payload(), LOADS[VectorFile.ZMM], LOADS[VectorFile.XMM])
    assert {2, 6, 7} <= machine.vcpu(VCPU).fpstate.contents.keys()


@pytest.mark.parametrize(
    ("instruction", "left"), [(vectors.vzeroall, {7}), (vectors.vzeroupper, {1, 7})]
)
def test_vzero_clears_the_first_sixteen(instruction, left):
    contents = run(in_payload(), LOADS[VectorFile.ZMM], instruction).vcpu(VCPU).fpstate.contents
    assert contents.keys() == left


@each_file
def test_under_ts_it_is_nm(file):
    assert vector(in_payload(**TS), STORES[file]) == NM


@pytest.mark.parametrize("file", TOO_LITTLE)
@pytest.mark.parametrize("fields", [{"cr4": 0x620}, {}], ids=["osxsave", "xcr0"])
def test_without_osxsave_or_xcr0_it_is_ud_whatever_ts_is(file, fields):
    fields = fields or {"xcr0": TOO_LITTLE[file]}
    assert vector(in_payload(**fields, **TS), STORES[file]) == UD


@pytest.mark.parametrize("fields", [{"cr4": 0x420}, EM], ids=["osfxsr", "em"])
def test_sse_needs_osfxsr_and_no_em(fields):
    assert vector(in_payload(**fields), STORES[VectorFile.XMM]) == UD


def test_sse_needs_no_osxsave():
    assert vector(in_payload(cr4=0x620, xcr0=1), STORES[VectorFile.XMM]) == NONE


def test_mxcsr_is_loaded_and_stored():
    machine = run(in_payload(), partial(vectors.ldmxcsr, value=0x1FA0))
    assert memory(machine, vectors.stmxcsr) == struct.pack("<I", 0x1FA0)


def test_mxcsr_alone_makes_sse_state_in_use():
    # SDM vol.1 §13.11: XSAVES takes SSE for in use if MXCSR is not 1F80H
    vcpu = run(in_payload(), partial(vectors.ldmxcsr, value=0x1FA0)).vcpu(VCPU)
    assert (vcpu.fpstate.xstate_bv & B1, vcpu.fpstate.mxcsr) == (B1, 0x1FA0)


def test_an_illegal_mxcsr_is_gp():
    assert vector(in_payload(), partial(vectors.ldmxcsr, value=1 << 16)) == GP
