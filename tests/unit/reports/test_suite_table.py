"""The table of selftests on several kernels."""

from dataclasses import replace

from kvmprobe.reports.suite_table import SuiteColumn, suite_lines
from kvmprobe.results.record import Crash, ScenarioRecord, Target
from kvmprobe.results.run_document import RunDocument
from kvmprobe.results.verdict import Verdict

OLD, NEW = (Target("lab", kernel, f"linux-image-{kernel} (trixie)") for kernel in ("6.12", "7.3"))
CRASH = Crash(0, None, "Oops: 0002", "kvm_set", (), "")


def record(name, verdict, reason="", target=OLD, crash=None):
    return ScenarioRecord(f"kselftest-kvm.{name}", name, "", target, verdict, reason, crash=crash)


def column(*records, left=(), notes=()):
    run = RunDocument("kvmprobe", (), records, left, notes=notes)
    return SuiteColumn("spec", run)


def on_new(*records):
    return column(*(replace(each, target=NEW) for each in records))


def rows(*columns):
    lines = list(suite_lines(columns))
    return lines[: lines.index("")]


def test_each_verdict_has_its_word():
    told = rows(
        column(
            record("a", Verdict.PASS),
            record("b", Verdict.FAILED, "line 1\nx.c:1: wrong"),
            record("c", Verdict.SKIPPED, "no SVM"),
            record("d", Verdict.TIMED_OUT, "did not end"),
            record("e", Verdict.CRASHED, crash=CRASH),
            left=("kselftest-kvm.f",),
        )
    )
    assert [line.split(None, 2)[1:] for line in told[1:]] == [
        ["pass"],
        ["FAIL", "x.c:1: wrong"],
        ["skip", "no SVM"],
        ["timeout", "did not end"],
        ["PANIC", "the host died: Oops: 0002"],
        ["?"],
    ]


def test_kernels_are_columns_and_a_common_reason_is_told_once():
    skipped = record("a", Verdict.SKIPPED, "no SVM")
    assert rows(column(skipped), on_new(skipped)) == [
        "                 6.12  7.3",
        "kselftest-kvm.a  skip  skip  no SVM",
    ]


def test_different_reasons_have_their_kernels():
    told = rows(
        column(record("a", Verdict.SKIPPED, "no SVM")), on_new(record("a", Verdict.FAILED, "bad"))
    )
    assert told[1] == "kselftest-kvm.a  skip  FAIL  6.12: no SVM; 7.3: bad"


def test_a_test_that_one_source_does_not_have_is_empty_there():
    told = rows(column(record("a", Verdict.PASS)), on_new(record("b", Verdict.PASS)))
    assert told[1:] == ["kselftest-kvm.a  pass", "kselftest-kvm.b        pass"]


def test_a_kernel_that_was_refused_says_why():
    assert list(suite_lines([SuiteColumn("9.9", None, "no such kernel")]))[-1] == (
        "9.9: refused: no such kernel"
    )


def test_notes_follow_the_counts():
    told = list(suite_lines([column(record("a", Verdict.PASS), notes=("tests of x",))]))
    assert told[-2:] == ["6.12 (linux-image-6.12 (trixie)): 1 PASS", "  tests of x"]


def test_text_of_a_test_cannot_move_the_cursor():
    assert "\x1b" not in rows(column(record("a", Verdict.FAILED, "\x1b[2J")))[1]
