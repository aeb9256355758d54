import os
from dataclasses import replace
from pathlib import Path

import pytest

from kvmprobe.model.rule import DocumentSource
from kvmprobe.reports.bug_report.log import trimmed_log
from kvmprobe.reports.bug_report.mail import PROGRAM_MARK, Reproducer, report, subject
from kvmprobe.reports.bug_report.text import SCISSORS
from kvmprobe.results.difference import (
    ExitDiffers,
    HostSurvives,
    KernelTainted,
    KernelWarns,
    ResultDiffers,
    ValuesDiffer,
)
from kvmprobe.results.record import CallRecord, Divergence, StepRecord
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.run import RunUntilHalt
from tests.support.cases import (
    B1,
    B1_TOO,
    B4,
    B4_TOO,
    O1,
    O2,
    O3,
    OPEN,
    changed,
    fail,
    on_silicon,
    run_on,
)
from tests.support.runs import EVERY, HOSTILE, RULE

GOLDEN = Path(__file__).parents[3] / "golden" / "bug_report"
BAD = run_on("7.3.4", *OPEN)
OLD = run_on("6.12.43", *B1_TOO)
OLDEST = run_on("6.1.192", *B4_TOO)
CASES = {
    "O1": fail(O1, BAD, OLD, OLDEST),
    "B1": fail(B1, OLD, OLDEST, BAD),
    "O3": fail(O3, BAD, OLD),
    "O2": fail(O2, BAD),
    "B4": fail(B4, OLDEST, BAD),
    "unknown": fail(O1, changed(BAD, O1, known=())),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def body(case, program=None):
    return report(case, program).partition(f"{SCISSORS}\n")[2]


def words(text):
    return " ".join(text.split())


def test_the_report_of_o1_reads_as_it_did():
    text = report(CASES["O1"], Reproducer("int main(void);\n", 1))
    path = GOLDEN / "O1.txt"
    if os.environ.get("KVMPROBE_UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text()


@each_case
def test_lines_are_no_longer_than_75_columns_but_for_logs(case):
    log = trimmed_log(case.record.crash) if case.record.crash else []
    for line in report(case, None).splitlines():
        assert len(line) <= 75 or line in log or " " not in line.strip()


@each_case
def test_the_subject_begins_with_the_subsystem_and_fits_a_line(case):
    assert subject(case).removeprefix("[6.1.y] ").startswith(("x86/fpu: ", "KVM: x86: "))
    assert len(f"Subject: {subject(case)}") <= 75


@each_case
def test_what_a_correct_kernel_does_comes_with_its_source(case):
    expected = words(body(case)).partition("Expected: ")[2].partition("Observed: ")[0]
    sources = ("arch/x86/", "commit ", "SDM vol.", "Documentation/")
    assert any(source in expected for source in sources)


@each_case
def test_the_model_that_makes_the_claim_is_named(case):
    assert "is the claim of its model" in words(body(case))


@each_case
def test_no_number_of_our_own_is_in_a_mail(case):
    assert "INV-" not in body(case)


@each_case
def test_a_step_is_shown_up_to_where_it_fails_and_no_further(case):
    rows = [line.split() for line in body(case).splitlines() if line[:6].strip().isdigit()]
    assert [int(row[0]) for row in rows] == list(range(case.last_step + 1))


def test_a_call_that_the_host_died_in_never_returns():
    rows = [line.split() for line in body(CASES["O1"]).splitlines()]
    assert ["11", "never", "KVM_RUN"] in rows


def test_a_wrong_value_stands_with_the_right_one():
    # known-bugs O1: bit 18 still set is the defect, a coherent kernel reports 0x20000
    assert "XSTATE_BV=0x60000, should be 0x20000" in body(CASES["O1"])


def test_an_errno_has_its_name():
    # XCR0 with tiles before CPUID has them: EINVAL (SDM vol. 1, 13.3; api.rst KVM_SET_XCRS)
    assert "-EINVAL  KVM_SET_XCRS" in body(CASES["O3"])


def test_the_order_in_which_the_kernel_behaves_is_told():
    text = words(body(CASES["O1"] if CASES["O1"].swapped else fail(O1, BAD)))
    wanted = "is correct if KVM_SET_MSRS IA32_XFD=0x40000 (XTILE_DATA) comes before KVM_SET_XSAVE"
    assert wanted in text


def test_a_fix_for_a_stable_series_is_asked_for_in_subject_and_text():
    assert subject(CASES["B4"]).startswith("[6.1.y] KVM: x86: ")
    wanted = 'Please apply commit 55cd57b596e8 ("KVM: x86: Filter out XTILE_CFG if XTILE_DATA'
    assert wanted in words(body(CASES["B4"]))


def test_a_mail_that_nobody_needs_has_no_recipients():
    assert body(CASES["B1"]).startswith("Subject: ")


def test_the_program_is_the_last_of_the_mail():
    text = report(CASES["O1"], Reproducer("int main(void)\n{\n\treturn 0;\n}\n", 1))
    assert text.endswith(f"{PROGRAM_MARK}\nint main(void)\n{{\n\treturn 0;\n}}\n")


def test_a_program_in_a_file_of_its_own_is_named():
    text = report(CASES["O1"], Reproducer("int main(void);\n", 1, file="repro.c"))
    assert "A program in C, repro.c, is available." in words(text)
    assert PROGRAM_MARK not in text


def test_a_failure_that_nothing_explains_is_told_by_what_it_shows():
    text = words(body(CASES["unknown"]))
    assert "Subject: x86/fpu: Host dies in restore_fpregs_from_fpstate during KVM_RUN" in text
    assert "XFD[i]=1 clears XSTATE_BV[i]: arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd" in text


FACTS = {
    "kernel": {"release": "7.3.4+deb13", "version": "#1 SMP"},
    "cpu": {"brand": "Xeon", "signature": 0x806F8},
    "environment": {
        "cpu": {"microcode": ["0x2b000590"]},
        "machine": {"hypervisor": {"bit": 1, "vendor": "KVMKVMKVM"}},
    },
    "kvm": {
        "vendor_modules": ["kvm_intel"],
        "parameters": {"kvm_intel": {"nested": "Y", "ple_gap": "1"}, "kvm": {}},
    },
}


def environment(case):
    text = body(replace(case, environment=FACTS)).partition("Environment:\n")[2]
    return text.partition("\n\n")[0].splitlines()


def test_facts_of_the_target_are_the_environment():
    assert environment(fail(O2, on_silicon(BAD))) == [
        "  kernel: 7.3.4+deb13",
        "  version: #1 SMP",
        "  CPU: Xeon",
        "  microcode: 0x2b000590",
        "  CPUID.1:EAX: 0x806f8",
        "  under a hypervisor: yes, KVMKVMKVM",
        "  KVM: kvm_intel",
        "  kvm_intel: nested=Y",
    ]


def test_an_emulated_processor_is_called_emulated_and_nothing_else():
    assert environment(fail(O2, BAD)) == [
        "  kernel: 7.3.4+deb13",
        "  package: linux-image 7.3.4-1",
        "  version: #1 SMP",
        "  machine: emulated Sapphire Rapids (Bochs, patched to know XFD); not",
        "      confirmed on silicon",
        "  kvm_intel: nested=Y",
    ]


@pytest.mark.parametrize("scenario", ["restore.b.x", "restore.b.y", "restore.c"])
def test_hostile_text_neither_adds_a_header_nor_moves_a_cursor(scenario):
    record = next(r for r in EVERY.records if r.id == scenario)
    hostile = "\n".join((*HOSTILE, "-- >8 --", "To: x@example.org", "From me"))
    sources = (DocumentSource(hostile, hostile),)
    rule = replace(RULE, statement=hostile, sources=sources)
    found = replace(record.divergences[0], difference=KernelWarns(hostile), rule=rule)
    crash = record.crash and replace(record.crash, headline=hostile, function=hostile)
    target = replace(record.target, source=hostile)
    bad = replace(record, divergences=(found,), crash=crash, target=target, known=())
    case = replace(CASES["unknown"], record=bad, tool=hostile, swapped=None, needs=None)
    text = report(case, None)
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count(SCISSORS) == 1
    assert not any(line.startswith(("To: x@", "From ")) for line in text.splitlines())


TABLE = SetCpuid2(Table.NO_AMX)
REFUSED = Divergence(5, TABLE, TABLE, ResultDiffers(0, -22), RULE)
TWICE = (OpenKvm(), CreateVm(), CreateVcpu(), TABLE, RunUntilHalt(), TABLE)


def refusal(difference=REFUSED):
    """The case of a table that is refused the second time, with what differs."""
    steps = tuple(StepRecord((CallRecord(op, 0),)) for op in TWICE)
    record = replace(
        CASES["unknown"].record, divergences=(difference,), steps=steps, crash=None, findings=()
    )
    return replace(CASES["unknown"], record=record, swapped=None)


def test_a_subject_says_what_the_kernel_returns_for_what_and_after_what():
    assert subject(refusal()) == (
        "x86/fpu: KVM_SET_CPUID2 returns -EINVAL for a table without AMX after KVM_RUN"
    )


def test_the_steps_say_that_it_is_the_same_table_twice():
    shown = words(body(refusal()))
    assert "KVM_SET_CPUID2 with a table without AMX, the same as in step 3" in shown


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        (ValuesDiffer({"XCR0": 1}, {"XCR0": 7}), "KVM_SET_CPUID2 returns wrong XCR0=0x7"),
        (ValuesDiffer({"exit_reason": 5}, {"exit_reason": 9}), "exits with KVM_EXIT_FAIL_ENTRY"),
        (ExitDiffers(0, 17), "exits with KVM_EXIT_INTERNAL_ERROR"),
    ],
    ids=["value", "exit", "no answer"],
)
def test_a_subject_never_says_only_that_something_is_wrong(difference, says):
    assert says in subject(refusal(replace(REFUSED, difference=difference)))


def test_a_subject_says_during_what_the_kernel_warned():
    warned = replace(REFUSED, call=None, difference=KernelWarns("WARNING: x"))
    assert subject(refusal(warned)) == "x86/fpu: Kernel warning during KVM_SET_CPUID2"


def test_a_subject_says_that_the_kernel_is_tainted():
    tainted = replace(REFUSED, after=None, call=None, difference=KernelTainted(512))
    assert subject(refusal(tainted)) == "x86/fpu: Kernel is tainted"


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (
            ExitDiffers(0, 17),
            "KVM_RUN returns 0 with exit_reason KVM_EXIT_INTERNAL_ERROR.",
        ),
        (HostSurvives("XRSTOR faults", 0), "the host dies (XRSTOR faults)."),
    ],
    ids=["exit", "host"],
)
def test_a_sentence_has_one_verb(difference, sentence):
    shown = words(body(refusal(replace(REFUSED, difference=difference))))
    assert sentence in shown
    assert "returns KVM_RUN returns" not in shown
    assert "returns the host dies" not in shown
