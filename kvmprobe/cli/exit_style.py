"""Exit status conventions: kselftest, git bisect, automake, kvm-unit-tests, LTP."""

from __future__ import annotations

import argparse
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.errors import ExitCode
from kvmprobe.results.verdict import FAILURES, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


OPTION = "--exit-style"


class ExitStyle(Enum):
    """Conventions; the values are those of ``--exit-style``."""

    DEFAULT = "default"
    KSELFTEST = "kselftest"
    BISECT = "bisect"
    AUTOTOOLS = "autotools"
    KUT = "kut"
    LTP = "ltp"
    ALWAYS0 = "always0"


_DEFAULT = {code: int(code) for code in ExitCode}
_STATUSES = {
    ExitStyle.DEFAULT: _DEFAULT,
    # :see: tools/testing/selftests/kselftest.h: 2 and 3 would mean XFAIL and XPASS there
    ExitStyle.KSELFTEST: _DEFAULT | {ExitCode.USAGE: 1, ExitCode.TOOL_BUG: 1},
    # :see: git-bisect(1), Bisect run: 1 to 127 is bad, but 125 skips; 128 and more end it.  What a
    # kernel under test can cause is below 128; a wrong command line would be wrong for each.
    ExitStyle.BISECT: _DEFAULT
    | {
        ExitCode.USAGE: 128,
        ExitCode.TOOL_BUG: 125,
        ExitCode.NOTHING_RAN: 125,
        ExitCode.RUN_TIMEOUT: 125,
    },
    # :see: automake's manual, Scripts-based Testsuites: 77 is a skip, 99 a hard error
    ExitStyle.AUTOTOOLS: {
        **dict.fromkeys(ExitCode, 99),
        ExitCode.OK: 0,
        ExitCode.DIVERGED: 1,
        ExitCode.NOTHING_RAN: 77,
    },
    # :see: kvm-unit-tests scripts/runtime.bash: 77 is SKIP, 124 a timeout, else FAIL
    ExitStyle.KUT: _DEFAULT | {ExitCode.NOTHING_RAN: 77},
    # :see: LTP include/tst_res_flags.h: TFAIL 1, TBROK 2, TCONF 32
    ExitStyle.LTP: {
        **dict.fromkeys(ExitCode, 2),
        ExitCode.OK: 0,
        ExitCode.DIVERGED: 1,
        ExitCode.NOTHING_RAN: 32,
    },
    ExitStyle.ALWAYS0: dict.fromkeys(ExitCode, 0),
}


def exit_status(style: ExitStyle, code: ExitCode) -> int:
    """Return the process's exit status."""
    return _STATUSES[style][code]


def style_of(argv: Sequence[str]) -> ExitStyle:
    """Return the style that a command line names, even if the rest of it is wrong.

    A usage error must not look like a bad kernel to ``git bisect run``.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(OPTION, default=ExitStyle.DEFAULT.value)
    try:
        return ExitStyle(parser.parse_known_args(argv)[0].exit_style)
    except (ValueError, argparse.ArgumentError):
        return ExitStyle.DEFAULT


def outcome(verdicts: Collection[Verdict]) -> ExitCode:
    """Return the status for verdicts; a run in which nothing was judged has not passed."""
    if Verdict.BROKEN in verdicts:
        return ExitCode.TOOL_BUG
    if FAILURES.intersection(verdicts):
        return ExitCode.DIVERGED
    passed = {Verdict.PASS, Verdict.XFAIL}.intersection(verdicts)
    return ExitCode.OK if passed else ExitCode.NOTHING_RAN
