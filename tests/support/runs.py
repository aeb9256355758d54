"""A run with every verdict, hostile text in its logs, and its files: whole, and cut short."""

from dataclasses import replace

from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.reports.json_report import JsonReport
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ImageDiffers, RunOfBytes
from kvmprobe.results.hang import Hang, HungTask
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Divergence,
    Finding,
    ScenarioRecord,
    Statement,
    StepRecord,
    Target,
)
from kvmprobe.results.run_document import Ending, RunDocument
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.lifecycle import CreateVm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.xstate.diff import DifferingRegion

HOST = Target("host", "6.18.44", "running: #1 SMP")
OLD = Target("lab", "6.12.43", "linux-image-6.12.43 (bookworm-backports)")
NEW = Target("lab", "6.12.95", "linux-image-6.12.95 (trixie)")
# What can break a format: XML's and a terminal's control characters, markup, KTAP's own words,
# text beyond Unicode's planes as Python reads it from broken JSON.
HOSTILE = (
    "\x1b[2J<script>alert('1')</script>]]>&amp; \x00\x08\ufffe\ud800",
    "Subtest: hostile",
    "ok 1 - hostile # SKIP",
    "not ok 7 hostile # SKIP never",
    "1..999",
    "KTAP version 1",
    "Bail out!",
    "|`**[x](http://example.org)",
)
RULE = Rule(
    "XFD[i]=1 clears XSTATE_BV[i]",
    ("INV-25",),
    (KernelSource(KernelFile.FPU_CORE, "fpu_update_guest_xfd"),),
)
O1_DIVERGENCE = Divergence(
    step=1,
    after=SetXfd(1 << 18),
    call=GetXsave2(),
    difference=ImageDiffers(
        11008,
        0x20000,
        0x60000,
        (
            RunOfBytes("XSTATE_BV", 514, 1, b"\2", b"\6"),
            *(RunOfBytes(text, 0, 4, bytes(4), b"\1\2\3\4") for text in HOSTILE),
        ),
        (DifferingRegion("XSTATE_BV", 512, 8, ((514, 1),)),),
    ),
    rule=RULE,
)
B1_DIVERGENCE = replace(O1_DIVERGENCE, after=SetXsave(0x60000))
CRASH = Crash(
    step=2,
    during=RunUntilHalt(),
    headline="Oops: unexpected #NM exception: 0000 [#1] SMP",
    function="restore_fpregs_from_fpstate",
    frames=("fpu_swap_kvm_fpstate", "kvm_arch_vcpu_ioctl_run"),
    report="\n".join(("Oops: unexpected #NM exception", *HOSTILE)),
)
STUCK = HungTask(7, 8, HOSTILE[0], "D (disk sleep)", "kvm_vcpu_load", "running", HOSTILE)
STEPS = (
    StepRecord((CallRecord(CreateVm(), 7),)),
    StepRecord(
        (
            CallRecord(SetXfd(1 << 18), 1, {"XSTATE_BV": 0x60000, "XCR0": 1}),
            CallRecord(GetXsave2(), 0),
        ),
        ("WARNING: CPU: 0 PID: 1", *HOSTILE),
    ),
)


def passed(scenario, target=OLD):
    family, row, column = (*scenario.split(".", 2), "", "")[:3]
    assert family
    return ScenarioRecord(
        scenario, row, column, target, Verdict.PASS, steps=STEPS[:1], duration=0.5
    )


def diverged(scenario, known=("O1",), divergence=O1_DIVERGENCE, target=OLD):
    return replace(
        passed(scenario, target),
        verdict=Verdict.DIVERGED,
        known=known,
        divergences=(divergence, replace(divergence, step=2)),
        steps=STEPS,
    )


ODD = Finding("o", "INV-29", 1, Statement(Claim.XSTATE_AND_XFD, {"bits": 1 << 18}))
EVERY_VERDICT = (
    passed("restore.a.x"),
    diverged("restore.b.x"),
    replace(diverged("restore.b.y", known=()), findings=(ODD,)),
    replace(diverged("restore.c"), verdict=Verdict.CRASHED, crash=CRASH, reason="it panicked"),
    replace(diverged("kick.a"), verdict=Verdict.XFAIL),
    replace(
        passed("kick.b"),
        verdict=Verdict.XPASS,
        expected_defects=("O1",),
        reason="O1 should have shown here",
    ),
    replace(
        passed("xsave.a"),
        verdict=Verdict.TIMED_OUT,
        reason="the scenario did not end within 30 s",
        hang=Hang((STUCK,), (STUCK,), HOSTILE, 1, RunUntilHalt()),
    ),
    replace(passed("guest.a", HOST), verdict=Verdict.SKIPPED, reason="no_guest_code: tried"),
    replace(passed("xcrs.a"), verdict=Verdict.BROKEN, reason="Traceback:\nValueError: # SKIP it"),
)
MISSING = ("sregs.a", "sregs.b")


def run_of_records(*records, not_completed=(), ending=Ending.COMPLETE):
    return RunDocument("kvmprobe 0.1.0", ("kvmprobe", "run"), records, not_completed, ending)


EVERY = run_of_records(*EVERY_VERDICT)
INTERRUPTED = run_of_records(*EVERY_VERDICT, not_completed=MISSING, ending=Ending.CUT_SHORT)


def written(path, run):
    """Write a run's JSON document as ``kvmprobe run --json`` does."""
    report = JsonReport(path, run.command)
    for record in run.records:
        report.add(record)
    report.finish(run.not_completed, complete=run.ending is Ending.COMPLETE)
    report.close()
    return path


def cuts(content):
    """Return beginnings of a file's content that have its first line, cut anywhere behind it."""
    first = content.index(b"\n") + 1
    spread = range(first, len(content) - 2, max(1, (len(content) - first) // 23))
    return [content[:end] for end in spread]
