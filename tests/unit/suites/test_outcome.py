"""The verdict on a selftest.  Outputs are those of upstream's tests."""

import pytest

from kvmprobe.results.verdict import Verdict
from kvmprobe.suites.outcome import Ended, outcome_of

ASSERTION = """\
Random seed: 0x6b8b4567
==== Test Assertion Failure ====
  x86_64/xapic_ipi_test.c:312: !r
  pid=87 tid=87 errno=95 - Operation not supported
     1\t0x0000000000403a81: ?? ??:0
     2\t0x00007f0e7ae2d249: ?? ??:0
  pthread_setaffinity_np() failed with EINVAL
"""
# tools/testing/selftests/x86/sigaltstack.c, when the small stack was accepted
X86 = "[RUN]\tTest an alternate signal stack\n[FAIL]\tBad sigaltstack size\n[OK]\tall right\n"


# tools/testing/selftests/kselftest.h: KSFT_PASS 0, KSFT_FAIL 1, KSFT_SKIP 4; KVM's asserts: 254
@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (Ended(0), Verdict.PASS),
        (Ended(1), Verdict.FAILED),
        (Ended(254), Verdict.FAILED),
        (Ended(4), Verdict.SKIPPED),
        (Ended(signal=11), Verdict.FAILED),
        (Ended(signal=9, overran=True), Verdict.TIMED_OUT),
    ],
)
def test_the_end_decides(ended, verdict):
    assert outcome_of(ended, "").verdict is verdict


@pytest.mark.parametrize(
    ("ended", "output", "reason"),
    [
        (
            Ended(4),
            "1..0 # SKIP - Requirement not met: kvm_cpu_has(X86_FEATURE_SVM)\n",
            "Requirement not met: kvm_cpu_has(X86_FEATURE_SVM)",
        ),
        (Ended(4), "[SKIP]\tno support of AMX\n", "no support of AMX"),
        (Ended(4), "Random seed: 0x1\nHUGETLB is not enabled\n", "HUGETLB is not enabled"),
        (Ended(4), "", "gave no reason"),
        (Ended(0), "ok 1 everything\n", ""),
        (Ended(0), "ok 1 a\nok 2 b # SKIP no AVX\n", "in part; skipped: no AVX"),
        (
            Ended(254),
            ASSERTION,
            "x86_64/xapic_ipi_test.c:312: !r: pthread_setaffinity_np() failed with EINVAL",
        ),
        (Ended(1), X86, "Bad sigaltstack size"),
        (Ended(1), "ok 1 a\nnot ok 2 fixed.bitmap\n# 1 failed\n", "fixed.bitmap"),
        (Ended(3), "it went wrong\n\n", "it went wrong"),
        (Ended(3), "", "exit status 3"),
        (Ended(signal=11), "before\n", "killed by SIGSEGV"),
        (Ended(signal=9, overran=True), "before\n", "did not end before its deadline"),
    ],
)
def test_the_last_line_says_why(ended, output, reason):
    assert outcome_of(ended, output).reason.rpartition("\n")[2] == reason


def test_a_failure_keeps_the_end_of_the_output():
    output = "".join(f"line {number}\n" for number in range(100))
    assert outcome_of(Ended(1), output).reason.splitlines()[:2] == ["line 60", "line 61"]


def test_a_long_line_is_cut():
    assert len(outcome_of(Ended(1), "x" * 100_000).reason) < 1000
