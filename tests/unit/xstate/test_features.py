from kvmprobe.xstate import features
from kvmprobe.xstate.features import XFeature


def test_tile_components_are_bits_17_and_18():
    # SDM vol.1 13.1: XTILECFG is state component 17, XTILEDATA 18.
    assert features.XTILE == 0x60000


def test_pkru_is_bit_9():
    # SDM vol.1 13.1
    assert XFeature.PKRU.bit == 0x200


def test_avx512_is_three_components():
    # SDM vol.1 13.1: opmask 5, ZMM_Hi256 6, Hi16_ZMM 7.
    assert features.AVX512 == 0xE0


def test_mpx_is_components_3_and_4():
    assert features.MPX == 0x18


def test_the_only_dynamic_component_is_tile_data():
    # Documentation/arch/x86/xstate.rst
    assert features.DYNAMIC == 0x40000


def test_numbers_are_ascending():
    assert features.numbers(0x602E7) == (0, 1, 2, 5, 6, 7, 9, 17, 18)


def test_names_spell_out_the_components():
    assert features.names(0x60000) == "0x60000 (XTILE_CFG|XTILE_DATA)"


def test_names_of_nothing_is_a_zero():
    assert features.names(0) == "0"


def test_names_give_the_number_of_an_unknown_bit():
    assert features.names(1 << 62 | 1) == "0x4000000000000001 (FP|62)"
