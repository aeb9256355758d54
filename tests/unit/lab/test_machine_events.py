import pytest

from kvmprobe.errors import LabError
from kvmprobe.lab.machine_events import (
    BlocksReached,
    BootPhase,
    ChannelLine,
    KvmMissing,
    Output,
    Overran,
    Phase,
    ProgramExited,
    ProgramKilled,
    Stream,
    decode,
)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"ready":1}', ChannelLine('{"ready":1}')),
        (b"#phase modules", Phase(BootPhase.MODULES, 1.5)),
        (b"#nokvm kvm-intel.ko: No such device", KvmMissing("kvm-intel.ko: No such device")),
        (b"#coverage AQAC", BlocksReached(b"\1\0\2")),
        (b"#overrun", Overran()),
        (b"#exit 7", ProgramExited(7)),
        (b"#signal 9", ProgramKilled(9)),
        (b">aGVsbG8K", Output(Stream.STDOUT, b"hello\n")),
        (b"!", Output(Stream.STDERR, b"")),
    ],
)
def test_each_line_of_init_has_one_meaning(line, event):
    assert decode(line, 1.5) == event


@pytest.mark.parametrize(
    "line",
    [
        b"#failed fork: EAGAIN",
        b"#phase other",
        b"#exit",
        b"#coverage AQ",
        b"#what",
        b">a",
        b">!!!!",
        b">\xc3\xa9",
    ],
)
def test_what_the_guest_cannot_have_meant_is_an_error(line):
    with pytest.raises(LabError):
        decode(line, 0.0)
