"""``kvmprobe bisect`` as far as no kernel is booted."""

from dataclasses import replace
from pathlib import Path

import pytest

from kvmprobe.cli.bisect import _behaviour, _Fails
from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.bisection import Tried
from kvmprobe.results.verdict import Verdict
from kvmprobe.search.bisection import Seen
from tests.support.runs import B1_DIVERGENCE, NEW, diverged, passed

ENDS = ["bisect", "--bad", "6.12.43", "--good", "6.12.95"]


@pytest.mark.parametrize("name", ["B1", "CVE-2026-23005", "SET_XSAVE_KEEPS_XFD_ARMED"])
def test_a_behaviour_has_the_names_of_its_known_defect(name):
    assert _behaviour(name) is Behaviour.SET_XSAVE_KEEPS_XFD_ARMED


@pytest.mark.parametrize(
    ("criterion", "says"),
    [
        ([], "one of the arguments --scenario --behaviour is required"),
        (["--behaviour", "NO_SUCH"], "'NO_SUCH' is no behaviour; there are KNOWS_APX, "),
    ],
)
def test_a_criterion_is_needed(criterion, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*ENDS, *criterion])
    assert (ended.value.code, says in capsys.readouterr().err) == (ExitCode.USAGE, True)


def test_an_unknown_scenario_is_refused_before_any_kernel_is_looked_for(capsys):
    assert main([*ENDS, "--scenario", "no.such"]) == ExitCode.USAGE
    assert "unknown scenario 'no.such'" in capsys.readouterr().err


FAILS = diverged("restore.a", ("B1",), B1_DIVERGENCE)
SKIPPED = replace(passed("restore.a"), verdict=Verdict.SKIPPED, reason="no_amx_kvm: no XTILE_DATA")


def judged(*records):
    """Judge a scenario on one kernel after the other."""
    test = _Fails(None, Path("/nowhere"))
    return [test._judged(Tried("", Seen.UNTESTABLE, "", record), record) for record in records]


@pytest.mark.parametrize(
    ("record", "seen", "says"),
    [
        (passed("restore.a"), Seen.GOOD, "passes"),
        (replace(FAILS, target=NEW), Seen.BAD, "DIVERGED: known, CVE-2026-23005 (B1)"),
        (diverged("restore.a", ("O1",)), Seen.UNTESTABLE, "another failure, O1"),
        (SKIPPED, Seen.UNTESTABLE, "no_amx_kvm: no XTILE_DATA"),
    ],
)
def test_a_kernel_is_bad_if_the_scenario_fails_as_on_the_first_one(record, seen, says):
    first, second = judged(FAILS, record)
    assert (first.seen, second.seen, says in second.reason) == (Seen.BAD, seen, True)


def test_a_first_kernel_on_which_it_passes_is_good():
    (first,) = judged(passed("restore.a"))
    assert first.seen is Seen.GOOD
