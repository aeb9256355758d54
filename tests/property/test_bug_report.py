"""Laws of a bug report for all texts: its lines, its one scissors line, its headers."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kvmprobe.reports.bug_report.mail import report
from kvmprobe.reports.bug_report.text import SCISSORS, WIDTH, paragraph, plain, quoted
from tests.property.records import DIFFERENCES, RULES
from tests.support.cases import O1, OPEN, changed, fail, run_on

TEXTS = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    ["-- >8 --", "x\n-- >8 --\nTo: me", "\x1b[2J", "\ud800", "Subject: x", "word " * 40]
)
UNKNOWN = fail(O1, changed(run_on("7.3.4", *OPEN), O1, known=()))
FOUND, CRASH = UNKNOWN.record.divergences[0], UNKNOWN.record.crash


@given(TEXTS)
def test_a_paragraph_keeps_its_words_within_the_width(text):
    lines = paragraph(text)
    assert " ".join(lines).split() == plain(text).split()
    assert all(len(line) <= WIDTH or " " not in line for line in lines)


@given(TEXTS)
def test_a_quoted_line_is_one_printable_line(text):
    assert quoted(text).isprintable()


@given(difference=DIFFERENCES, rule=RULES, function=TEXTS, log=TEXTS, source=TEXTS, tool=TEXTS)
def test_no_text_of_a_target_breaks_the_mail(difference, rule, function, log, source, tool):
    record = replace(
        UNKNOWN.record,
        divergences=(replace(FOUND, difference=difference, rule=rule),),
        crash=replace(CRASH, function=function, headline=log, report=log),
        target=replace(UNKNOWN.record.target, source=source),
    )
    lines = report(replace(UNKNOWN, record=record, tool=tool), None).splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines.count(SCISSORS) == 1
    head = lines[lines.index(SCISSORS) + 1 : lines.index("", lines.index(SCISSORS))]
    assert [line.partition(" ")[0] for line in head if line[0] != " "] == ["To:", "Cc:", "Subject:"]
