"""What a terminal's screen shows of a run, read by a terminal emulator."""

import re
import subprocess
import sys

import pytest

from tests.support.terminal import INTERRUPT, on_terminal

# A run of made-up records: each line of its standard input is one.
RUN = """
import sys
from kvmprobe.cli.terminal import output, progress, print_line
from kvmprobe.reports.live import Live
from kvmprobe.reports.printing import Printing
from kvmprobe.model.xcr import SET_XCRS
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.record import Divergence, ScenarioRecord, Target
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.results.verdict import Verdict

place, records = Target("lab", "7.3.4", "a package"), []
live = Live(output(), Printing())
def divergence(n):
    return Divergence(n, SetXcrs(n), SetXcrs(n), ResultDiffers(n, -22), SET_XCRS)
try:
    with progress() as status:
        live.tally = status.tally
        status.stage("emulated host, 7.3.4: scenarios")
        for n in range(int(sys.argv[1])):
            status.advance(n, int(sys.argv[1]))
            status.now(f"fpu.{n}.{'x' * 80}")
            failed = n % 10 == 3
            records.append(ScenarioRecord(f"fpu.{n}", "", "", place,
                Verdict.DIVERGED if failed else Verdict.PASS,
                divergences=(divergence(n),) if failed else ()))
            live.add(records[-1])
        if "wait" in sys.argv:
            sys.stdin.readline()
        if "tell" in sys.argv:
            print_line("a word on standard error")
except KeyboardInterrupt:
    print_line("interrupted")
live.finish(records, 1.0)
"""


def run(*arguments):
    return [sys.executable, "-c", RUN, *map(str, arguments)]


def shows(text):
    return lambda lines: any(text in line for line in lines)


@pytest.fixture(scope="module")
def waiting():
    """What is to be seen while a run waits after its last scenario."""
    with on_terminal(run(24, "wait"), columns=90) as terminal:
        terminal.read_until(lambda lines: lines and lines[-1].startswith("23/24"))
        lines = terminal.lines
        terminal.go_on()
        terminal.end()
    return lines


@pytest.fixture(scope="module", params=[30, 100])
def ended(request):
    """The terminal of a run of 300 scenarios that has ended."""
    with on_terminal(run(300, "tell"), columns=request.param) as terminal:
        assert terminal.end() == 0
    return terminal


def test_the_status_line_is_the_last_one_and_leaves_room_for_a_key(waiting):
    assert len(waiting[-1]) == 87
    assert waiting[-1].endswith("…")


def test_failures_stand_above_the_status_line_whole(waiting):
    assert [line for line in waiting[:-1] if "expected" in line] == [
        "      expected: returns 3",
        "      expected: returns 13",
        "      expected: returns 23",
    ]


def test_at_the_end_nothing_is_left_of_it(ended):
    assert not shows("/300")(ended.lines)
    assert ended.lines[-1] == "300 scenarios in 1.0 s"
    assert sum("expected: returns" in line for line in ended.lines) == 30


def test_the_cursor_is_back_at_the_end(ended):
    assert not ended.screen.cursor.hidden


def test_a_word_on_standard_error_stands_above_it(ended):
    assert "a word on standard error" in ended.lines


def test_verdicts_are_coloured(ended):
    assert b"\x1b[31mDIVERGED" in ended.raw


def test_an_interrupt_leaves_a_clean_screen_and_the_summary():
    with on_terminal(run(24, "wait")) as terminal:
        terminal.read_until(shows("23/24"))
        terminal.press(INTERRUPT)
        terminal.end()
    assert not shows("23/24")(terminal.lines)
    assert "interrupted" in terminal.lines
    assert terminal.lines[-1] == "24 scenarios in 1.0 s"


def test_with_no_color_nothing_is_but_the_status_line_stays():
    with on_terminal(run(24, "wait"), environ={"NO_COLOR": "1"}) as terminal:
        terminal.read_until(shows("23/24"))
        terminal.go_on()
        terminal.end()
    assert b"m" not in {code[-1:] for code in control_codes(terminal.raw)}


@pytest.mark.parametrize("environ", [{"CI": "true"}, {"TERM": "dumb"}])
def test_where_nobody_watches_a_terminal_gets_plain_text(environ):
    with on_terminal(run(24), environ=environ) as terminal:
        terminal.end()
    assert control_codes(terminal.raw) == []
    assert "kvmprobe: emulated host, 7.3.4: scenarios" in terminal.lines


def test_no_terminal_gets_plain_text():
    ended = subprocess.run(run(24), capture_output=True, check=True)
    assert control_codes(ended.stdout + ended.stderr) == []
    assert ended.stderr == b"kvmprobe: emulated host, 7.3.4: scenarios\n"


def test_output_that_goes_elsewhere_is_plain_while_the_terminal_has_the_status_line(tmp_path):
    with (tmp_path / "out").open("wb") as out, on_terminal(run(24, "wait"), stdout=out) as terminal:
        terminal.read_until(shows("23/24"))
        terminal.go_on()
        terminal.end()
    printed = (tmp_path / "out").read_bytes()
    assert control_codes(printed) == []
    assert b"24 scenarios in 1.0 s" in printed
    assert terminal.lines == []


def test_standard_error_that_goes_elsewhere_is_not_drawn_into_the_terminal(tmp_path):
    told = tmp_path / "err"
    with told.open("wb") as err, on_terminal(run(24, "tell"), stderr=err) as terminal:
        terminal.end()
    assert told.read_bytes() == b"a word on standard error\n"
    assert not shows("a word")(terminal.lines)


def control_codes(raw):
    """Each escape sequence, whole."""
    return re.findall(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[^\[]|\r(?!\n)", raw)
