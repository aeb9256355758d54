"""Console texts of real kernels (tests/golden/console) and what is to be read from them.

Each header was held against its log by reading: RIP lines, call traces, the first line.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from kvmprobe.results import console_text

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "console").glob("*.log"))


@dataclass
class Golden:
    verdict: str
    headline: str
    function: str
    frames: tuple[str, ...]
    text: str


def read(path):
    header, _, text = path.read_text(encoding="utf-8").partition("\n\n")
    fields = dict(line.split(": ", 1) for line in header.splitlines())
    return Golden(
        fields["VERDICT"],
        fields.get("HEADLINE", ""),
        fields.get("FUNCTION", ""),
        tuple(fields.get("FRAMES", "").split()),
        text,
    )


def named(*verdicts):
    chosen = [path for path in GOLDEN if read(path).verdict in verdicts]
    assert chosen
    ids = [path.stem for path in chosen]
    return pytest.mark.parametrize("golden", [read(path) for path in chosen], ids=ids)


@named("PANIC")
def test_a_panic_is_told_by_headline_function_and_frames(golden):
    report = console_text.find_panic(golden.text)
    assert (report.headline, report.function, report.frames) == (
        golden.headline,
        golden.function,
        golden.frames,
    )


@named("PANIC")
def test_the_report_begins_with_the_trouble_and_ends_with_the_panic(golden):
    report = console_text.find_panic(golden.text)
    first, *_, last = report.text.splitlines()
    assert "end Kernel panic" in last
    assert "cut here" in first or "WARNING" in first or "Kernel panic" in first
    assert "cpufreq" not in report.text


@named("WARNING", "QUIET")
def test_what_did_not_panic_is_no_panic(golden):
    assert console_text.find_panic(golden.text) is None


@named("WARNING")
def test_a_warning_is_a_report(golden):
    (report,) = console_text.find_reports(golden.text)
    assert (report.headline, report.function) == (golden.headline, golden.function)


@named("QUIET")
def test_an_uneventful_boot_has_no_report(golden):
    assert console_text.find_reports(golden.text) == ()


@named("PANIC")
def test_carriage_returns_change_nothing(golden):
    assert console_text.find_panic(golden.text.replace("\n", "\r\n")) == console_text.find_panic(
        golden.text
    )


@named("PANIC")
def test_caller_columns_change_nothing_but_the_text(golden):
    stamped = "\n".join(line.replace("] ", "][   T95] ", 1) for line in golden.text.splitlines())
    report = console_text.find_panic(stamped)
    assert (report.headline, report.function, report.frames) == (
        golden.headline,
        golden.function,
        golden.frames,
    )


@named("PANIC")
def test_lines_of_others_in_between_change_nothing(golden):
    interleaved = []
    for number, line in enumerate(golden.text.splitlines()):
        interleaved.append(line)
        if number % 7 == 0:
            interleaved.append("kvmprobe: a line of the program's own")
    report = console_text.find_panic("\n".join(interleaved))
    assert (report.headline, report.function, report.frames) == (
        golden.headline,
        golden.function,
        golden.frames,
    )


@named("PANIC")
def test_a_log_cut_anywhere_never_names_another_function(golden):
    for end in range(0, len(golden.text), 37):
        report = console_text.find_panic(golden.text[:end])
        if report is not None:
            assert report.function in ("", golden.function)
            assert report.frames == golden.frames[: len(report.frames)]
        for warning in console_text.find_reports(golden.text[:end]):
            assert warning.text.strip()


def test_a_panic_without_its_end_is_one():
    report = console_text.find_panic(
        "[    1.0] Kernel panic - not syncing: Attempted to kill init!\n"
    )
    assert report.headline == "Kernel panic - not syncing: Attempted to kill init!"
    assert report.function == ""


def test_a_warning_long_before_does_not_belong_to_the_panic():
    text = (
        "[    0.1] WARNING: CPU: 0 PID: 0 at a.c:1 early+0x1/0x2\n"
        "[    0.1] ---[ end trace 0000000000000000 ]---\n"
        "[    0.2] one\n[    0.3] two\n[    0.4] three\n"
        "[    9.0] Kernel panic - not syncing: later\n"
        "[    9.0] ---[ end Kernel panic - not syncing: later ]---\n"
    )
    assert console_text.find_panic(text).text.count("\n") == 2


def test_a_panic_is_announced_across_two_reads():
    whole = bytearray(b"[    1.0] Kernel panic - not syncing: x")
    assert not console_text.is_panicking(whole[:20], 0)
    assert console_text.is_panicking(whole, 20)
    assert not console_text.is_complete(whole, 20)
