"""Random records and runs, with any text where a target's text can be."""

from hypothesis import strategies as st

from kvmprobe.model.rule import DocumentSource, KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import (
    BytesDiffer,
    EntryDiffers,
    ExitDiffers,
    HostSurvives,
    ImageDiffers,
    KernelTainted,
    KernelWarns,
    RegisterDiffers,
    ResultDiffers,
    RunOfBytes,
    TableDiffers,
    ValuesDiffer,
)
from kvmprobe.results.hang import Hang, HungTask
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Divergence,
    Finding,
    ReadingsDiffer,
    ScenarioRecord,
    Statement,
    StepRecord,
    Target,
)
from kvmprobe.results.run_document import Ending, RunDocument
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.lifecycle import OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.xstate.cpuid import CpuidEntry, Register

# What JSON can hold: lone surrogates, too.
TEXTS = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["ok 1 x # SKIP", "]]>", "\x1b[0m", "\ud800", "# Subtest: x", "KTAP version 1", "1..2"]
)
STEPS = st.integers(0, 99)
KNOWN = st.lists(st.sampled_from(["O1", "B1", "O3"]), unique=True, max_size=2).map(tuple)
LINES = st.lists(TEXTS, max_size=2).map(tuple)
RESULTS = st.integers(-4095, 4096)
NUMBERS = st.integers(0, (1 << 64) - 1)
REGISTERS = st.integers(0, (1 << 32) - 1)
BYTES = st.binary(max_size=16)
OPS = st.sampled_from([OpenKvm(), SetXfd(1 << 18), GetXsave2(), GetFpu(), RunUntilHalt()])
# Few names, so that several calls of a step have the same.
VALUES = st.dictionaries(TEXTS | st.sampled_from(["XCR0", "XFD"]), NUMBERS, max_size=3)
CALLS = st.builds(CallRecord, OPS, RESULTS, VALUES, VALUES, VALUES)
STEP_RECORDS = st.lists(
    st.builds(StepRecord, st.lists(CALLS, max_size=3).map(tuple), LINES), max_size=2
).map(tuple)

ENTRIES = st.builds(CpuidEntry, *[REGISTERS] * 7)
PARTS = st.builds(
    RegisterDiffers, REGISTERS, REGISTERS, st.sampled_from(Register), REGISTERS, REGISTERS
) | st.builds(EntryDiffers, ENTRIES, ENTRIES)
DIFFERENCES = st.one_of(
    st.builds(ResultDiffers, st.none() | RESULTS, RESULTS),
    st.builds(ExitDiffers, RESULTS, REGISTERS, st.none() | NUMBERS),
    st.builds(ValuesDiffer, VALUES, VALUES),
    st.builds(BytesDiffer, STEPS, BYTES, BYTES),
    st.builds(
        TableDiffers,
        st.lists(PARTS, min_size=1, max_size=3).map(tuple),
        st.none() | st.tuples(STEPS, STEPS),
    ),
    st.builds(
        ImageDiffers,
        st.integers(576, 11008),
        NUMBERS,
        NUMBERS,
        st.lists(st.builds(RunOfBytes, TEXTS, STEPS, STEPS, BYTES, BYTES), max_size=2).map(tuple),
        written=st.none() | STEPS,
    ),
    st.builds(HostSurvives, TEXTS, RESULTS),
    st.builds(KernelWarns, TEXTS),
    st.builds(KernelTainted, NUMBERS),
)
SOURCES = (
    st.builds(KernelSource, st.sampled_from(KernelFile), TEXTS)
    | st.builds(DocumentSource, TEXTS, TEXTS)
    | st.builds(ManualSource, STEPS, TEXTS.filter(bool), TEXTS)
)
RULES = st.builds(
    Rule, TEXTS, LINES, st.lists(SOURCES, min_size=1, max_size=2).map(tuple), sections=LINES
)
DIVERGENCES = st.builds(
    Divergence, STEPS, st.none() | OPS, st.none() | OPS, DIFFERENCES, RULES, st.none() | RULES
)


def statements_of(claim):
    """A claim with any values of the kinds that it is about."""
    values = dict.fromkeys(claim.numbers, NUMBERS) | dict.fromkeys(claim.texts, TEXTS)
    ops = st.lists(OPS, max_size=2).map(tuple)
    return st.builds(Statement, st.just(claim), st.fixed_dictionaries(values), ops)


STATEMENTS = st.sampled_from(Claim).flatmap(statements_of)
FINDINGS = st.builds(
    Finding,
    TEXTS,
    TEXTS,
    STEPS,
    STATEMENTS,
    st.lists(STATEMENTS | st.builds(ReadingsDiffer, OPS, DIFFERENCES), max_size=2).map(tuple),
    TEXTS,
    KNOWN,
)
CRASHES = st.builds(Crash, STEPS, st.none() | OPS, TEXTS, TEXTS, LINES, TEXTS, TEXTS)
TASKS = st.lists(
    st.builds(HungTask, STEPS, STEPS, TEXTS, TEXTS, TEXTS, TEXTS, LINES), max_size=1
).map(tuple)
HANGS = st.builds(Hang, TASKS, TASKS, LINES, STEPS, st.none() | OPS)
TARGETS = st.builds(Target, st.sampled_from(["host", "lab"]), TEXTS, TEXTS)
# Few, so that two runs often have the same scenario.
RESTS = ("a", "B_-9", "c.x", "c.y")
IDS = [f"{family}.{rest}" for family in ("restore", "kick") for rest in RESTS]
RECORDS = st.builds(
    ScenarioRecord,
    id=st.sampled_from(IDS),
    row=st.just(""),
    column=st.just(""),
    target=TARGETS,
    verdict=st.sampled_from(Verdict),
    reason=TEXTS,
    steps=STEP_RECORDS,
    divergences=st.lists(DIVERGENCES, max_size=2).map(tuple),
    findings=st.lists(FINDINGS, max_size=1).map(tuple),
    known=KNOWN,
    expected_defects=KNOWN,
    crash=st.none() | CRASHES,
    hang=st.none() | HANGS,
    duration=st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)),
)
RUNS = st.builds(
    RunDocument,
    tool=TEXTS,
    command=LINES,
    records=st.lists(RECORDS, max_size=4, unique_by=lambda r: r.id).map(tuple),
    not_completed=st.lists(st.just("xsave.a"), max_size=1).map(tuple),
    ending=st.sampled_from(Ending),
)
