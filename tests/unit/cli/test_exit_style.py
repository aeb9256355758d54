import pytest

from kvmprobe.cli.exit_style import ExitStyle, exit_status, outcome, style_of
from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.results.verdict import Verdict


# kselftest.rst and kselftest.h: 0 pass, 1 fail, 4 skip; runner.sh: 124 is timeout(1)'s.
# git-bisect(1): 0 good, 1-127 except 125 bad, 125 cannot be tested, from 128 on the end.
# automake's manual, Scripts-based Testsuites: 0 pass, 77 skip, 99 hard error, others fail.
# kvm-unit-tests scripts/runtime.bash: 0 pass, 77 skip, 124 timeout, others fail.
# LTP include/tst_res_flags.h: TPASS 0, TFAIL 1, TBROK 2, TCONF 32.
@pytest.mark.parametrize(
    ("code", "kselftest", "bisect", "autotools", "kut", "ltp"),
    [
        (ExitCode.OK, 0, 0, 0, 0, 0),
        (ExitCode.DIVERGED, 1, 1, 1, 1, 1),
        (ExitCode.USAGE, 1, 128, 99, 2, 2),
        (ExitCode.TOOL_BUG, 1, 125, 99, 3, 2),
        (ExitCode.NOTHING_RAN, 4, 125, 77, 77, 32),
        (ExitCode.RUN_TIMEOUT, 124, 125, 99, 124, 2),
        (ExitCode.INTERRUPTED, 130, 130, 99, 130, 2),
    ],
)
def test_each_outcome_has_its_status(code, kselftest, bisect, autotools, kut, ltp):
    assert exit_status(ExitStyle.KSELFTEST, code) == kselftest
    assert exit_status(ExitStyle.BISECT, code) == bisect
    assert exit_status(ExitStyle.AUTOTOOLS, code) == autotools
    assert exit_status(ExitStyle.KUT, code) == kut
    assert exit_status(ExitStyle.LTP, code) == ltp
    assert exit_status(ExitStyle.DEFAULT, code) == code
    assert exit_status(ExitStyle.ALWAYS0, code) == 0


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ({Verdict.PASS}, ExitCode.OK),
        ({Verdict.PASS, Verdict.SKIPPED}, ExitCode.OK),
        ({Verdict.XFAIL}, ExitCode.OK),
        ({Verdict.SKIPPED}, ExitCode.NOTHING_RAN),
        (set(), ExitCode.NOTHING_RAN),
        ({Verdict.PASS, Verdict.DIVERGED}, ExitCode.DIVERGED),
        ({Verdict.PASS, Verdict.CRASHED}, ExitCode.DIVERGED),
        ({Verdict.PASS, Verdict.TIMED_OUT}, ExitCode.DIVERGED),
        ({Verdict.PASS, Verdict.XPASS}, ExitCode.DIVERGED),
        ({Verdict.DIVERGED, Verdict.BROKEN}, ExitCode.TOOL_BUG),
    ],
)
def test_verdicts_come_to_one_outcome(verdicts, code):
    assert outcome(verdicts) is code


@pytest.mark.parametrize(
    ("argv", "style"),
    [
        (["run"], ExitStyle.DEFAULT),
        (["run", "--exit-style", "bisect"], ExitStyle.BISECT),
        (["run", "--exit-style=bisect", "--nonsense"], ExitStyle.BISECT),
        (["run", "--exit-style", "nonsense"], ExitStyle.DEFAULT),
        (["run", "--exit-style"], ExitStyle.DEFAULT),
        (["lab", "exec", "--", "program", "--exit-style", "bisect"], ExitStyle.DEFAULT),
    ],
)
def test_the_style_is_found_in_any_command_line(argv, style):
    assert style_of(argv) is style


def test_a_wrong_option_does_not_look_like_a_bad_kernel():
    with pytest.raises(SystemExit) as ended:
        main(["run", "--exit-style", "bisect", "--no-such-option"])
    assert ended.value.code == 128


def test_a_host_without_kvm_cannot_be_bisected(capsys):
    missing = ["run", "--target", "host", "--device", "/no/kvm", "--exit-style", "bisect"]
    assert main(missing) == 125
    assert "no_kvm" not in capsys.readouterr().out
