"""``kvmprobe bisect`` as far as no kernel is booted."""

import pytest

from kvmprobe.cli.bisect import _behaviour
from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.model.behaviours import Behaviour

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
