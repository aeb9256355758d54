"""``kvmprobe run`` on this host, on a terminal and interrupted from its keyboard."""

import re

import pytest

from kvmprobe.errors import ExitCode
from tests.support.command import COMMAND
from tests.support.terminal import INTERRUPT, on_terminal

pytestmark = pytest.mark.kvm
RUN = [*COMMAND, "run", "--target", "host"]
STATUS = re.compile(r"\d+/\d+  \d+/s  0:00:\d\d  ")
SMALL = ["--select", "fpu.*, xcrs.*", "--exclude", "tag:amx"]


def test_an_interrupt_ends_with_130_and_with_what_did_not_complete():
    with on_terminal(RUN) as terminal:
        terminal.read_until(lambda lines: lines and STATUS.match(lines[-1]))
        terminal.press(INTERRUPT)
        status = terminal.end()
    assert status == ExitCode.INTERRUPTED
    assert any("scenarios did not complete" in line for line in terminal.lines)
    assert [line for line in terminal.lines if STATUS.match(line)] == []


def test_a_run_leaves_its_summary_and_no_status_line():
    with on_terminal([*RUN, *SMALL, "--known", "xfail"]) as terminal:
        status = terminal.end()
    assert status == ExitCode.OK
    assert [line for line in terminal.lines if STATUS.match(line)] == []
    assert any(re.search(r"\d+ PASS", line) for line in terminal.lines)


def test_a_run_on_a_terminal_of_ci_is_plain_text():
    with on_terminal([*RUN, *SMALL, "--known", "xfail"], environ={"CI": "1"}) as terminal:
        terminal.end()
    assert b" PASS" in terminal.raw
    assert b"\x1b" not in terminal.raw


def test_each_line_has_a_timestamp_on_request():
    command = [*RUN, *SMALL, "--known", "xfail", "--timestamps"]
    with on_terminal(command, columns=300, environ={"CI": "1"}) as terminal:
        terminal.end()
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d( |$)")
    assert terminal.lines
    assert [line for line in terminal.lines if not stamp.match(line)] == []


def test_the_status_line_names_the_scenario_that_runs():
    with on_terminal(RUN) as terminal:
        terminal.read_until(lambda lines: lines and re.search(r"scenarios: restore\.", lines[-1]))
        terminal.press(INTERRUPT)
        terminal.end()


def test_an_interrupted_run_prints_how_to_resume(tmp_path):
    out = tmp_path / "run"
    with on_terminal([*RUN, "--out", str(out)], columns=300) as terminal:
        terminal.read_until(lambda lines: lines and STATUS.match(lines[-1]))
        terminal.press(INTERRUPT)
        terminal.end()
    assert f"kvmprobe: to continue: kvmprobe resume {out}" in terminal.lines


@pytest.mark.parametrize(("switches", "count"), [([], 1), (["--no-print", "known"], 0)])
def test_a_running_run_prints_one_line_for_each_kind_of_known_failure(switches, count):
    # O2, open on every kernel, shows in fpu.set-after.*
    command = [*RUN, "--select", "fpu.set-after.*", *switches]
    with on_terminal(command, columns=300, environ={"CI": "1"}) as terminal:
        terminal.end()
    condensed = [line for line in terminal.lines if "are counted, not listed" in line]
    assert len(condensed) == count
    assert any("DIVERGED: known, O2, open" in line for line in terminal.lines)
