"""What the model expects, as it is printed."""

import pytest

from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Done, ExpectedBytes, ExpectedImage, ExpectedTable, Unspecified
from tests.support.hosts import AMX_HOST

IMAGE = bytes(11008)
OPEN = (Unspecified(512, b"\4", Freedom.PCIDE_AT_ENTRY),)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (ExpectedImage(IMAGE, OPEN), "11008 bytes, SHA-256 "),
        (ExpectedBytes(16, IMAGE, OPEN), "16, 11008 bytes, SHA-256 "),
        (ExpectedTable(AMX_HOST.cpu), f"{len(AMX_HOST.cpu.entries)} entries"),
    ],
    ids=["image", "bytes", "table"],
)
def test_a_large_expectation_is_printed_by_its_size(part, text):
    shown = repr(Done(0, memory=part))
    assert text in shown
    assert len(shown) < 250


def test_two_images_are_printed_differently():
    assert repr(ExpectedImage(IMAGE)) != repr(ExpectedImage(IMAGE[:-1] + b"\1"))
