"""Colours, timestamps, and how far the work is."""

import io
import re

import pytest
from rich.console import Console

from kvmprobe.cli.terminal import (
    LinePerStage,
    Meter,
    Output,
    StatusLine,
    colours,
    output,
    print_line,
)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def counted(clock, *samples):
    """A meter after counts at these times."""
    meter = Meter(clock)
    meter.begin("work")
    for clock.now, done in samples:
        meter.advance(done, 1000)
    return meter


# https://no-color.org: present and not empty; CI systems set CI; rich knows dumb terminals.
@pytest.mark.parametrize(
    "environ",
    [
        {"NO_COLOR": "1"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
        {"CI": "true"},
        {"TERM": "dumb"},
    ],
)
def test_no_colours_where_they_are_not_wanted(environ):
    assert colours(environ) is None


@pytest.mark.parametrize(
    "environ", [{}, {"NO_COLOR": ""}, {"CI": "false"}, {"CI": "true", "FORCE_COLOR": "1"}]
)
def test_otherwise_the_terminal_decides(environ):
    assert colours(environ) == "auto"


def test_the_rate_is_of_late():
    # 100 in the first minute, then 50 a second for ten seconds
    samples = [(0, 0), (60, 100), *((60 + n, 100 + 50 * n) for n in range(1, 11))]
    assert counted(Clock(), *samples).rate == 50


def test_the_rate_falls_while_nothing_comes():
    clock = Clock()
    meter = counted(clock, (0, 0), (1, 100))
    clock.now = 4
    assert meter.rate == 25


def test_counts_are_done_total_and_rate():
    assert counted(Clock(), (0, 0), (2, 100)).counts == "100/1000  50/s"


def test_there_are_no_counts_before_the_first():
    assert counted(Clock()).counts == ""


def test_many_bytes_are_shown_short():
    clock = Clock()
    meter = Meter(clock)
    meter.advance(0, 0)
    clock.now = 2
    meter.advance(12_345_678, 2_000_000_000)
    assert meter.counts == "12.3M/2.0G  6.2M/s"


def test_an_unknown_total_is_a_question_mark():
    meter = Meter(Clock())
    meter.advance(7, 0)
    assert meter.counts == "7/?  0/s"


def test_a_new_stage_counts_anew():
    meter = counted(Clock(), (0, 0), (1, 100))
    meter.begin("other")
    assert (meter.counts, meter.stage) == ("", "other")


def test_the_status_line_has_counts_time_failures_and_what_runs():
    clock = Clock()
    line = StatusLine(Console(file=io.StringIO()), clock)
    line.stage("this host: scenarios")
    line.advance(0, 300)
    clock.now = 3725.0
    line.now("restore.a.b")
    line.tally("2 DIVERGED")
    assert line.line().plain == (
        "0/300  0/s  1:02:05  2 DIVERGED  this host: scenarios: restore.a.b"
    )


def told(capsys):
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_stage_is_a_line(capsys):
    lines = LinePerStage(Clock())
    for text in ("boot", "boot", "run"):
        lines.stage(text)
    assert told(capsys) == ["kvmprobe: boot", "kvmprobe: run"]


def test_without_a_terminal_a_long_stage_tells_every_fifteen_seconds(capsys):
    clock = Clock()
    lines = LinePerStage(clock)
    lines.stage("run")
    lines.now("a.b")
    lines.tally("1 CRASHED")
    for second in range(31):
        clock.now = float(second)
        lines.advance(10 * second, 400)
    assert told(capsys) == [
        "kvmprobe: run",
        "kvmprobe: run: 150/400  10/s, 1 CRASHED, a.b",
        "kvmprobe: run: 300/400  10/s, 1 CRASHED, a.b",
    ]


STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


def test_each_printed_line_has_a_timestamp_if_that_is_asked_for():
    console = Output(file=io.StringIO(), highlight=False, markup=False)
    console.timestamps = True
    console.print("a\n\nb", soft_wrap=True)
    printed = console.file.getvalue()
    assert re.fullmatch(f"{STAMP} a\n{STAMP} \n{STAMP} b\n", printed), printed


def test_no_line_has_one_otherwise():
    console = Output(file=io.StringIO(), highlight=False, markup=False)
    console.print("a\nb")
    assert console.file.getvalue() == "a\nb\n"


def test_what_is_told_has_one_too(capsys, monkeypatch):
    monkeypatch.setattr(output(), "timestamps", True)
    print_line("a")
    assert re.fullmatch(f"{STAMP} a", told(capsys)[0])
