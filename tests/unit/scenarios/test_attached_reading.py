"""What an attached file is, by its content."""

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.attached.parts import Leaves, Sregs, Template, XsaveImage
from kvmprobe.scenarios.attached.reading import MOST_BYTES, read_attached

LEAF = b"0x00000001 0x00: eax=0x00000011 ebx=0x00000022 ecx=0x00000033 edx=0x00000044\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"kvm_capabilities": []}', Template),
        (b'\n \t{"msr_modifiers": []}', Template),
        (b"CPU 0:\n" + LEAF, Leaves),
        (LEAF, Leaves),
        (bytes(312), Sregs),
        (bytes(320), Sregs),
        (bytes(4096), XsaveImage),
        (b"{" + bytes(4095), XsaveImage),
        (bytes(11008), XsaveImage),
        (bytes(65536), XsaveImage),
    ],
)
def test_a_file_is_known_by_its_content(content, kind):
    assert type(read_attached(content)) is kind


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "byte 0: expected"),
        (b" \n", "byte 0: expected"),
        (bytes(311), "size: expected 312 (struct kvm_sregs), 320 (struct kvm_sregs2), or 4096"),
        (bytes(576), "size: expected 312"),
        (bytes(4095), "size: expected 312"),
        (bytes(4097), "size: expected 312"),
        (bytes(65600), "size: expected 312"),
        (bytes(MOST_BYTES + 1), "size: expected at most"),
        (b"{" + b" " * MOST_BYTES, "size: expected at most"),
        (b"CPU 0:\n\xff\xfe", "byte 7: expected UTF-8, found 0xff"),
        (b"\x80{}", "byte 0: expected UTF-8, found 0x80"),
        (b"[]", "line 1: expected a template"),
        (b"hello", "line 1: expected a template"),
    ],
)
def test_anything_else_is_refused_with_its_place(content, place):
    with pytest.raises(ScenarioError) as caught:
        read_attached(content)
    assert str(caught.value).startswith(place)
