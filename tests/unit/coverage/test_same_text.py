import pytest

from kvmprobe.coverage.same_text import is_same_text

NOP2, NOP5 = b"\x66\x90", b"\x0f\x1f\x44\x00\x00"
JMP2, JMP5 = b"\xeb\x90", b"\xe9\x01\x00\x00\x00"


@pytest.mark.parametrize(("nop", "jump"), [(NOP2, JMP2), (NOP5, JMP5)])
def test_a_switched_key_is_the_same_text(nop, jump):
    assert is_same_text(b"\x55" + nop + b"\xc3", b"\x55" + jump + b"\xc3")
    assert is_same_text(b"\x55" + jump + b"\xc3", b"\x55" + nop + b"\xc3")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"\x55\xc3", b"\x53\xc3"),
        (b"\xc3", b"\xc3\xc3"),
        (NOP5, b"\xe8\x01\x00\x00\x00"),
        (JMP5, b"\xe9\x02\x00\x00\x00"),
        (NOP2 + b"\xc3", JMP2 + b"\xcc"),
    ],
)
def test_any_other_difference_is_another_text(one, other):
    assert not is_same_text(one, other)


def call(distance):
    return b"\x90\xe8" + (distance % (1 << 32)).to_bytes(4, "little") + b"\xc3"


MOVE = 0x3000


@pytest.mark.parametrize("distance", [0x1234, -0x1234, 0x7FFF_E000])
def test_a_call_out_of_a_module_that_lies_elsewhere_is_the_same_text(distance):
    assert is_same_text(call(distance), call(distance - MOVE), (MOVE, -MOVE))


def test_a_call_that_goes_elsewhere_by_another_distance_is_another_text():
    assert not is_same_text(call(0x1234), call(0x1234 - MOVE + 1), (MOVE, -MOVE))
    assert not is_same_text(call(0x1234), call(0x1234 - MOVE))
