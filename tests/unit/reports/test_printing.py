"""--print and --no-print."""

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.reports.printing import Known, Printing, Switch
from kvmprobe.results.verdict import Verdict

ON, OFF = Switch.ON, Switch.OFF
FAILED = {
    *(Verdict.DIVERGED, Verdict.CRASHED, Verdict.FAILED, Verdict.TIMED_OUT),
    *(Verdict.XPASS, Verdict.BROKEN),
}


def after(*switches):
    printing = Printing()
    for switch, *names in switches:
        printing = printing.switched(switch, names)
    return printing


def test_passes_are_quiet_and_failures_are_not():
    assert Printing().verdicts == FAILED


def test_known_failures_are_condensed():
    assert Printing().known is Known.CONDENSED


@pytest.mark.parametrize("name", ["pass", "PASS", " pass ", "p"])
def test_a_verdict_is_switched_on_by_its_name_or_the_beginning(name):
    assert after((ON, name)).verdicts == FAILED | {Verdict.PASS}


def test_several_are_switched_at_once():
    assert after((ON, "pass", "skip")).verdicts == FAILED | {Verdict.PASS, Verdict.SKIPPED}


@pytest.mark.parametrize("name", ["timed-out", "TIMED_OUT", "timed"])
def test_a_dash_is_an_underscore(name):
    assert after((OFF, name)).verdicts == FAILED - {Verdict.TIMED_OUT}


def test_the_last_switch_holds():
    assert after((OFF, "all"), (ON, "crashed")).verdicts == {Verdict.CRASHED}


def test_all_is_every_verdict():
    assert after((ON, "all")).verdicts == frozenset(Verdict)


@pytest.mark.parametrize(
    ("switches", "known"),
    [
        ([(ON, "known")], Known.AS_OTHERS),
        ([(OFF, "known")], Known.COUNTED),
        ([(OFF, "all")], Known.COUNTED),
        ([(OFF, "all"), (ON, "pass")], Known.COUNTED),
        ([(OFF, "all"), (ON, "diverged")], Known.CONDENSED),
        ([(ON, "diverged")], Known.CONDENSED),
    ],
)
def test_known_is_switched_as_a_verdict_is(switches, known):
    assert after(*switches).known is known


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wrong", "'wrong' is unknown; verdicts: pass, diverged"),
        ("x", "'x' is ambiguous: xfail or xpass"),
        ("", "'' is unknown"),
    ],
)
def test_what_is_no_verdict_is_refused(name, says):
    with pytest.raises(UsageError) as raised:
        Printing().switched(ON, [name])
    assert says in str(raised.value)
