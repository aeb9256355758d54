"""What a run prints while it goes on, and what is then left for its end."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from kvmprobe.reports.live import Live
from kvmprobe.reports.printing import Printing, Switch
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.record import Crash, Finding, ScenarioRecord, Statement, Target
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.run import RunUntilHalt
from tests.support.runs import O1_DIVERGENCE

TARGET = Target("lab", "7.3.4", "linux-image 7.3.4-1")
DIVERGENCE = replace(O1_DIVERGENCE, step=3, difference=ResultDiffers(0, -22))
EXPECTED = "expected: returns 0"
CRASH = Crash(4, RunUntilHalt(), "unexpected #NM", "restore_fpregs_from_fpstate", (), "x")


class Run:
    """A run whose output is read piece by piece."""

    def __init__(self, *switches):
        printing = Printing()
        for switch, name in switches:
            printing = printing.switched(switch, [name])
        self.stream, self.tallies = io.StringIO(), []
        console = Console(file=self.stream, highlight=False, markup=False)
        self.live = Live(console, printing)
        self.live.tally = self.tallies.append
        self.records = []

    def takes(self, *records):
        """What is printed when these come."""
        return self._printed(lambda: [self._add(record) for record in records])

    def ends(self):
        """What is printed then."""
        return self._printed(lambda: self.live.finish(self.records, 1.5))

    def _add(self, record):
        self.records.append(record)
        self.live.add(record)

    def _printed(self, act):
        start = self.stream.tell()
        act()
        return self.stream.getvalue()[start:]


def record(verdict, name="a.b", **fields):
    return ScenarioRecord(name, "a", "b", TARGET, verdict, **fields)


def diverged(name, **fields):
    return record(Verdict.DIVERGED, name, divergences=(DIVERGENCE,), **fields)


def test_a_pass_prints_nothing():
    assert Run().takes(record(Verdict.PASS)) == ""


def test_a_pass_that_is_asked_for_is_a_line():
    shown = Run((Switch.ON, "pass")).takes(record(Verdict.PASS, duration=0.01234))
    assert shown == "PASS  a.b  on emulated host, 7.3.4  0.012 s\n"


def test_a_skip_that_is_asked_for_comes_with_its_reason():
    shown = Run((Switch.ON, "skip")).takes(record(Verdict.SKIPPED, reason="no_amx_kvm: no AMX"))
    assert shown == "SKIPPED  a.b  on emulated host, 7.3.4  no_amx_kvm: no AMX\n"


def test_a_new_failure_is_exact_at_once():
    shown = Run().takes(diverged("a.b"))
    for part in ("DIVERGED  a.b", "step 3: KVM_SET_MSRS", EXPECTED, "INV-25"):
        assert part in shown, part


def test_a_failure_like_an_earlier_one_is_a_line_that_names_it():
    shown = Run().takes(diverged("a.b"), diverged("a.c"))
    assert shown.splitlines()[-1] == ("DIVERGED  a.c  on emulated host, 7.3.4  not known; as a.b")


def test_a_crash_is_shown_though_its_divergence_was():
    run = Run()
    run.takes(diverged("a.b"))
    crashed = replace(diverged("a.c"), verdict=Verdict.CRASHED, crash=CRASH)
    assert "restore_fpregs_from_fpstate" in run.takes(crashed)


def test_known_failures_are_a_line_for_each_label():
    shown = Run().takes(*(diverged(f"a.{n}", known=("O1",)) for n in range(3)))
    assert shown == (
        "DIVERGED  a.0  on emulated host, 7.3.4  known, O1, open; "
        "more scenarios with the same known defect are counted, not listed\n"
    )


def test_a_known_failure_with_an_unexplained_finding_is_not_condensed():
    found = Finding("two-views", "§6", 3, Statement(Claim.FPU_AND_XSAVE))
    shown = Run().takes(diverged("a.b", known=("O1",), findings=(found,)))
    assert "show different x87 and SSE state" in shown


def test_known_failures_are_exact_if_that_is_asked_for():
    assert EXPECTED in Run((Switch.ON, "known")).takes(diverged("a", known=("O1",)))


def test_known_failures_can_be_quiet():
    run = Run((Switch.OFF, "known"))
    assert run.takes(diverged("a.b", known=("O1",))) == ""
    assert EXPECTED not in run.ends()


def test_the_end_does_not_repeat_what_was_shown():
    run = Run()
    run.takes(diverged("a.b"), diverged("a.c"))
    shown = run.ends()
    assert EXPECTED not in shown
    assert "DIVERGED  a.b  on emulated host, 7.3.4  not known; shown above\n" in shown
    assert "    DIVERGED  a.c\n" in shown


def test_the_end_shows_what_was_condensed():
    run = Run()
    run.takes(diverged("a.b", known=("O1",)))
    assert EXPECTED in run.ends()


def test_a_verdict_that_is_switched_off_is_only_counted():
    run = Run((Switch.OFF, "diverged"))
    assert run.takes(diverged("a.b")) == ""
    assert [line for line in run.ends().splitlines() if "a.b" in line] == []


def test_failures_are_tallied_in_the_order_of_verdicts():
    run = Run()
    run.takes(record(Verdict.CRASHED), diverged("a.c"), diverged("a.d"), record(Verdict.PASS))
    assert run.tallies[-1] == "2 DIVERGED, 1 CRASHED"


@pytest.mark.parametrize("verdict", [Verdict.TIMED_OUT, Verdict.BROKEN, Verdict.XPASS])
def test_every_other_failure_is_shown_with_its_reason(verdict):
    assert "  because\n" in Run().takes(record(verdict, reason="because"))
