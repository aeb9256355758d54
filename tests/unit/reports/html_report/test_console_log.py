"""Which lines of a console stand out."""

from pathlib import Path

from kvmprobe.reports.html_report.console_log import telling_lines
from kvmprobe.results.console_text import find_panic
from kvmprobe.results.record import Crash

GOLDEN = Path(__file__).parents[3] / "golden" / "console"


def crash(function="", frames=(), headline=""):
    return Crash(1, None, headline, function, frames, "")


def test_lines_that_name_function_or_frames_are_telling():
    lines = ["RIP: 0010:f+0x45/0x90", " g+0x71/0x110", " h+0x1/0x2"]
    assert telling_lines(crash("f", ("g",)), lines) == (0, 1)


def test_a_frame_that_the_kernel_doubts_is_not():
    assert telling_lines(crash("f"), [" ? f+0x3c/0x90"]) == ()


def test_a_function_whose_name_ends_alike_is_another():
    assert telling_lines(crash("run"), [" kvm_run+0x1/0x2", " x.run+0x1/0x2"]) == ()


def test_headline_and_landmarks_are_telling():
    lines = ["so it said: my headline", "RAX: 0", "Call Trace:", "Kernel panic - not syncing: x"]
    assert telling_lines(crash(headline="my headline"), lines) == (0, 2, 3)


def test_without_any_name_only_landmarks_are():
    assert telling_lines(crash(), ["", "a+0x1/0x2", "Oops: x"]) == (2,)


def test_a_name_is_no_pattern():
    assert telling_lines(crash(".*("), ["abc+0x1"]) == ()


def test_of_a_real_panic_few_lines_are_telling():
    # The log's registers, code bytes and module lists fold away.
    text = (GOLDEN / "7.3.4-xsave-then-xfd.log").read_text(encoding="utf-8", errors="replace")
    report = find_panic(text)
    lines = report.text.splitlines()
    telling = telling_lines(
        Crash(1, None, report.headline, report.function, report.frames, report.text), lines
    )
    shown = [lines[number] for number in telling]
    assert any(f"{report.function}+0x" in line for line in shown)
    assert all(any(f"{frame}+0x" in line for line in shown) for frame in report.frames)
    assert len(telling) < len(lines) / 2
    assert not any("RAX:" in line or "Code:" in line for line in shown)
