"""The event loop, with programs of our own in the emulator's place.

What stands in is a process that writes and reads the same pipes; no guest behaviour is made up
here, real ones are in tests/lab.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from kvmprobe.errors import BootFailed, LabError
from kvmprobe.lab import machine as machine_module
from kvmprobe.lab.boot_image import BootImage, RamImage
from kvmprobe.lab.emulator import Emulator
from kvmprobe.lab.emulator_process import Boot
from kvmprobe.lab.machine import Machine
from kvmprobe.lab.machine_events import (
    ChannelLine,
    ConsolePanic,
    Ended,
    EndReason,
    Phase,
    ProgramExited,
)

PATIENCE = 20.0
IMAGE = BootImage((RamImage(0x1000, b"kernel"),), 16)
PROLOGUE = f"""#!{sys.executable}
import os, re, signal, sys, time
config = open(sys.argv[sys.argv.index("-f") + 1]).read()
console = os.fdopen(int(os.environ["KVMPROBE_CONSOLE"]), "w")
channel = os.fdopen(int(os.environ["KVMPROBE_CHANNEL_OUT"]), "w")
lines = os.fdopen(int(os.environ["KVMPROBE_CHANNEL_IN"]))
def emit(*words):
    for word in words:
        print(word, file=channel, flush=True)
def log(text):
    print(text, file=console, flush=True)
def spin():
    while True:
        pass
def boot():
    emit("#phase init", "#phase modules", "#phase start")
"""


@pytest.fixture
def emulator(tmp_path):
    def write(body):
        script = tmp_path / "bochs"
        script.write_text(PROLOGUE + textwrap.dedent(body), encoding="utf-8")
        script.chmod(0o755)
        return Emulator(script, tmp_path / "firmware.bin", tmp_path / "init")

    return write


def run(emulator, boot_seconds=PATIENCE, silence=PATIENCE):
    with Machine.boot(emulator, Boot(IMAGE), boot_seconds) as machine:
        return list(machine.events(silence))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != "Z"
    except FileNotFoundError:
        return False


def assert_dies(pid):
    limit = time.monotonic() + PATIENCE
    while is_alive(pid):
        assert time.monotonic() < limit, f"process {pid} lives"
        time.sleep(0.01)


def test_a_program_is_heard_from_its_start_to_the_end_of_the_machine(emulator):
    events = run(emulator('boot(); emit(\'{"ready": 1}\', "#exit 7")'))
    names = [event.phase.value for event in events[:3]]
    assert names == ["init", "modules", "start"]
    assert events[3:] == [ChannelLine('{"ready": 1}'), ProgramExited(7), Ended(EndReason.FINISHED)]


def test_the_emulator_finds_its_images_where_the_configuration_says(emulator):
    body = """
    path = re.search(r"^optramimage1: file=(\\S+), address=0x1000$", config, re.M)[1]
    content = open(path).read()
    boot()
    emit(content)
    """
    assert ChannelLine("kernel") in run(emulator(body))


def test_what_was_said_before_a_panic_is_heard_first(emulator):
    body = """
    boot()
    log("[    1.0] Kernel panic - not syncing: so")
    emit(*(f"line {n}" for n in range(2000)))
    log("[    1.1] ---[ end Kernel panic - not syncing: so ]---")
    time.sleep(1000)
    """
    *before, panic, end = run(emulator(body))
    assert before[3:] == [ChannelLine(f"line {n}") for n in range(2000)]
    assert isinstance(panic, ConsolePanic)
    assert panic.report.headline == "Kernel panic - not syncing: so"
    assert end == Ended(EndReason.PANIC)


def test_an_incomplete_panic_report_is_a_panic(emulator):
    body = """
    boot()
    log("[    1.0] Kernel panic - not syncing: so")
    spin()
    """
    assert run(emulator(body))[-1] == Ended(EndReason.PANIC)


def test_an_emulator_stopped_while_a_panic_is_printed_did_not_panic(emulator):
    body = """
    boot()
    log("[    1.0] Kernel panic - not syncing: so")
    os.kill(os.getpid(), signal.SIGSTOP)
    """
    assert run(emulator(body))[-1] == Ended(EndReason.STALLED)


def test_an_emulator_killed_while_a_panic_is_printed_did_not_panic(emulator):
    body = """
    boot()
    log("[    1.0] Kernel panic - not syncing: so")
    os.kill(os.getpid(), 9)
    """
    assert run(emulator(body))[-1] == Ended(EndReason.EMULATOR_DIED)


def test_a_panic_while_booting_is_a_failed_boot(emulator):
    body = """
    emit("#phase init")
    log("[    1.0] Kernel panic - not syncing: no root")
    log("[    1.0] ---[ end Kernel panic - not syncing: no root ]---")
    time.sleep(1000)
    """
    with pytest.raises(BootFailed, match="no root"):
        run(emulator(body))


def test_a_boot_that_says_nothing_ends_with_the_consoles_last_lines(emulator):
    with pytest.raises(BootFailed) as failure:
        run(emulator('log("[    0.1] last words"); spin()'), boot_seconds=1.0)
    assert failure.value.last_lines == ("[    0.1] last words",)


def test_an_emulator_that_gives_up_is_quoted(emulator):
    with pytest.raises(BootFailed, match=r"the emulator failed \(1\) .*PANIC.*no memory"):
        run(emulator('print("[MEM0] >>PANIC<< no memory"); sys.exit(1)'))


def test_a_triple_fault_while_booting_is_reported(emulator):
    with pytest.raises(BootFailed, match="the machine reset"):
        run(emulator("sys.exit(3)"))


def test_an_emulator_that_is_no_program_is_a_failed_boot(emulator):
    broken = emulator("")
    broken.bochs.write_text("nonsense", encoding="utf-8")
    with pytest.raises(BootFailed):
        run(broken)


def test_silence_is_a_hang(emulator):
    events = run(emulator("boot(); spin()"), silence=0.3)
    assert events[-1] == Ended(EndReason.HANG)


def test_silence_of_a_stopped_emulator_is_no_hang(emulator):
    events = run(emulator("boot(); os.kill(os.getpid(), signal.SIGSTOP)"), silence=0.3)
    assert events[-1] == Ended(EndReason.STALLED)


def test_a_boot_whose_emulator_is_stopped_says_so(emulator):
    with pytest.raises(BootFailed, match="it was stopped"):
        run(emulator("os.kill(os.getpid(), signal.SIGSTOP)"), boot_seconds=1.0)


def test_a_console_without_end_is_a_hang(emulator, monkeypatch):
    monkeypatch.setattr(machine_module, "_MOST_BYTES", 1 << 20)
    body = """
    boot()
    while True:
        log("[    1.0] WARNING" + "x" * 4000)
    """
    assert run(emulator(body))[-1] == Ended(EndReason.HANG)


def test_console_text_is_a_sign_of_life(emulator):
    body = """
    boot()
    for _ in range(10):
        log("[    1.0] busy")
        time.sleep(0.1)
    emit("#exit 0")
    """
    assert ProgramExited(0) in run(emulator(body), silence=0.8)


@pytest.mark.parametrize(("status", "reason"), [(3, EndReason.RESET), (1, EndReason.EMULATOR_DIED)])
def test_a_reset_and_a_failed_emulator_are_distinguished(emulator, status, reason):
    assert run(emulator(f"boot(); sys.exit({status})"))[-1] == Ended(reason)


def test_a_guest_that_cannot_start_the_program_says_why(emulator):
    with pytest.raises(LabError, match="fork: Cannot allocate memory"):
        run(emulator('boot(); emit("#failed fork: Cannot allocate memory")'))


def test_both_sides_may_write_much_before_they_read(emulator):
    body = """
    boot()
    emit(*("x" * 1000 for _ in range(5000)))
    emit(str(len(lines.readline())), "#exit 0")
    """
    with Machine.boot(emulator(body), Boot(IMAGE), PATIENCE) as machine:
        machine.send("y" * 3_000_000)
        heard = [event.text for event in machine.events(PATIENCE) if isinstance(event, ChannelLine)]
    assert heard == ["x" * 1000] * 5000 + ["3000001"]


def test_a_guest_that_writes_a_line_without_end_is_given_up(emulator, monkeypatch):
    monkeypatch.setattr(machine_module, "_MOST_BYTES", 1 << 20)
    body = """
    boot()
    while True:
        channel.write("x" * 4096)
    """
    assert run(emulator(body))[-1] == Ended(EndReason.HANG)


def test_listening_can_be_taken_up_again(emulator):
    body = """
    boot()
    for line in lines:
        emit("heard " + line.strip())
        if line == "stop\\n":
            break
    emit("#exit 0")
    """
    with Machine.boot(emulator(body), Boot(IMAGE), PATIENCE) as machine:
        for word in ("one", "two", "stop"):
            machine.send(word)
            heard = next(e for e in machine.events(PATIENCE) if isinstance(e, ChannelLine))
            assert heard.text == f"heard {word}"
        assert list(machine.events(PATIENCE))[-1] == Ended(EndReason.FINISHED)
        machine.send("dropped")


def test_leaving_the_block_ends_the_emulator(emulator):
    with Machine.boot(
        emulator('boot(); emit(f"{os.getpid()}"); time.sleep(1000)'), Boot(IMAGE)
    ) as machine:
        events = machine.events(PATIENCE)
        pid = next(int(event.text) for event in events if isinstance(event, ChannelLine))
        assert is_alive(pid)
        assert machine.memory_bytes() > 1 << 20
    assert not is_alive(pid)
    assert machine.memory_bytes() == 0


def test_no_descriptor_is_left_open(emulator):
    def count():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not used

    fake = emulator('boot(); emit("#exit 0")')
    before = count()
    for _ in range(3):
        run(fake)
    assert count() == before


USER = """
import sys
from pathlib import Path
from kvmprobe.lab.boot_image import BootImage
from kvmprobe.lab.emulator import Emulator
from kvmprobe.lab.emulator_process import Boot
from kvmprobe.lab.machine import Machine
from kvmprobe.lab.machine_events import Phase
path = Path(sys.argv[1])
with Machine.boot(Emulator(path, path, path), Boot(BootImage((), 16))) as machine:
    for event in machine.events(1000.0):
        if not isinstance(event, Phase):
            print(event.text, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_emulator_does_not_outlive_who_started_it(emulator, number):
    fake = emulator('boot(); emit(f"{os.getpid()}"); time.sleep(1000)')
    with subprocess.Popen(
        [sys.executable, "-c", USER, fake.bochs],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as user:
        pid = int(user.stdout.readline())
        assert is_alive(pid)
        os.killpg(user.pid, number)
        user.wait(PATIENCE)
        assert_dies(pid)


def test_phases_carry_the_time_since_the_start(emulator):
    events = run(emulator('time.sleep(0.3); boot(); emit("#exit 0")'))
    phases = [event for event in events if isinstance(event, Phase)]
    assert phases
    assert all(0.3 <= phase.seconds < PATIENCE for phase in phases)
