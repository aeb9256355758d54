"""The whole report: advice for the sender, then the mail.

The order follows Documentation/process/security-bugs.rst: files, kernels, failure, evidence,
environment, program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.disclosure import (
    Standing,
    advice,
    disclosure_of,
    files_at_fault,
    lacking_series,
    standing_of,
)
from kvmprobe.reports.bug_report.environment import environment
from kvmprobe.reports.bug_report.headline import headline
from kvmprobe.reports.bug_report.kernels import kernel_lines
from kvmprobe.reports.bug_report.log import trimmed_log
from kvmprobe.reports.bug_report.recipients import subsystem_of
from kvmprobe.reports.bug_report.sequence import conditions, table, words
from kvmprobe.reports.bug_report.text import (
    SCISSORS,
    header,
    item,
    paragraph,
    plain,
    quoted,
)
from kvmprobe.reports.claims import finding_details, finding_text
from kvmprobe.reports.differences import results, shown, where
from kvmprobe.reports.values import call_text
from kvmprobe.results.difference import (
    ExitDiffers,
    HostSurvives,
    ImageDiffers,
    KernelTainted,
    KernelWarns,
    ResultDiffers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.reports.bug_report.case import Case
    from kvmprobe.results.difference import Difference
    from kvmprobe.results.record import Divergence, ScenarioRecord

_LONG = 200
# Length of a subject; a mail program folds the line.
_SUBJECT = 79
PROGRAM_MARK = "---- reproducer.c"


def advice_lines(case: Case) -> list[str]:
    """Return the advice for the sender: whether it is new, and who gets it."""
    return _joined(paragraph(text) for text in advice(case, disclosure_of(case)))


@dataclass(frozen=True, slots=True)
class Reproducer:
    """The scenario as a program in C.

    :ivar exit_status: its exit status if the failure shows
    :ivar go_on: the argument with which it makes a load of the guest FPU that can panic the host;
        empty if it makes no such load
    :ivar file: its file, if it is not part of the mail
    """

    text: str
    exit_status: int
    go_on: str = ""
    file: str = ""


def report(case: Case, program: Reproducer | None) -> str:
    """Return the advice, a scissors line, and the mail.

    :param program: None if the scenario cannot be converted to a program
    """
    lines = [*advice_lines(case), SCISSORS, *_headers(case), "", *_body(case)]
    if program is not None:
        lines += ["", *paragraph(_about(case, program))]
        if not program.file:
            lines += ["", PROGRAM_MARK, *program.text.splitlines()]
    return "".join(f"{line}\n" for line in lines)


def _about(case: Case, program: Reproducer) -> str:
    where = f"A program in C, {program.file}, is available.  It" if program.file else "reproducer.c"
    text = f"{where} checks each step, and exits with {program.exit_status} if this shows."
    if case.host_dies and program.go_on:
        text += f"  Without {program.go_on} it stops before a load that would panic the host."
    return text


def _headers(case: Case) -> list[str]:
    found = disclosure_of(case)
    addresses = [("To", found.to), ("Cc", found.cc)]
    lines = [line for name, of in addresses if of for line in header(name, of)]
    return [*lines, *header("Subject", [subject(case)])]


def subject(case: Case) -> str:
    """Return the subject: prefix of the subsystem and fault; for a backport the series."""
    if case.defects:
        series = _series_to_mend(case)
        return f"[{series}] {case.defects[0].subject}" if series else case.defects[0].subject
    prefix = subsystem_of(next(iter(files_at_fault(case)), "")).value
    return plain(f"{prefix}: {headline(case, _SUBJECT - len(prefix))}")


def _body(case: Case) -> list[str]:
    sections = [
        _summary(case),
        _cause(case),
        ["Kernels:", *kernel_lines(case)],
        [*paragraph(f"Steps: {words(case)}  {conditions(case)}"), "", *table(case)],
        paragraph(f"Expected: {_expected(case)}"),
        [*paragraph(f"Observed: {_observed(case)}"), *_evidence(case)],
        _other_order(case),
        ["Environment:", *environment(case)],
        paragraph(
            f"Found with {case.tool or 'kvmprobe'}, scenario {case.record.id}.  What a correct "
            "kernel does is the claim of its model of the guest's FPU state."
        ),
    ]
    return _joined(section for section in sections if section)


def _summary(case: Case) -> list[str]:
    texts = [plain(defect.summary) for defect in case.defects]
    if not texts:
        texts = [f"On {case.record.target.release}: {headline(case, _LONG)}."]
    series = _series_to_mend(case)
    if series:
        fix = case.defects[0]
        texts.append(f"Please apply {fix.fix} to {series}.")
    return paragraph("  ".join(texts))


def _cause(case: Case) -> list[str]:
    files = files_at_fault(case)
    causes = [d.cause for d in case.defects if d.cause]
    if causes:
        return paragraph(f"Cause, in {files[0]}: {' '.join(causes)}")
    return paragraph(f"Where: {', '.join(files)}") if files else []


def _expected(case: Case) -> str:
    texts = [_claims(d)[0] for d in case.record.divergences[:1]]
    texts += [plain(defect.expected) for defect in case.defects]
    if not case.defects:
        texts += [f"{d.rule}." for d in case.record.divergences[:1]]
        texts += [f"not that {finding_text(finding)}." for finding in case.findings[:1]]
    return "  ".join(texts) or "the process continues."


def _observed(case: Case) -> str:
    record = case.record
    texts = [_claims(d)[1] for d in record.divergences[:1]]
    texts += [f"At step {f.step}: {finding_text(f)}." for f in case.findings[:1] if not texts]
    if record.crash:
        died = call_text(record.crash.during) or "a call"
        texts.append(f"In step {record.crash.step}, {died}, the host panics.")
    elif case.host_dies:
        texts.append("With this state, the next load of the guest's FPU would panic the host.")
    return "  ".join(texts) or record.reason


def _claims(found: Divergence) -> tuple[str, str]:
    """Return what was expected and what was observed, each as a sentence that says where."""
    text = shown(found.difference)
    sides, source = (text.expected, text.observed), f"{where(found)[1]}:"
    at = f"in step {found.step}"
    match found.difference:
        case KernelWarns() | KernelTainted() | ExitDiffers() | HostSurvives():
            pass
        case difference:
            at = f"after step {found.step}" if found.call != found.after else at
            source = f"{call_text(found.call)} returns"
            if isinstance(difference, ResultDiffers):
                sides = results(difference)
    expected, observed = (f"{at}, {source} {side.rstrip('.')}." for side in sides)
    return expected, observed


def _evidence(case: Case) -> list[str]:
    """Return the differences of images, the kernel's messages, and the crash log."""
    record = case.record
    details = [text for d in record.divergences[:1] for text in _details(d.difference)]
    details += [text for f in case.findings[:1] for text in finding_details(f)]
    parts = [item(text) for text in details]
    lines = [line for part in parts for line in part]
    step = case.record.divergences[0].step if record.divergences else case.last_step
    logged = record.steps[step].kernel_log if step < len(record.steps) else ()
    log = [quoted(line) for line in logged]
    if record.crash:
        log += trimmed_log(record.crash)
    return [*lines, *(["", *log] if log else [])]


def _details(difference: Difference) -> tuple[str, ...]:
    """Return the differences, without XSTATE_BV, which is in the sentence before."""
    if isinstance(difference, ImageDiffers):
        runs = tuple(run for run in difference.runs if run.where != "XSTATE_BV")
        difference = replace(difference, runs=runs)
    return shown(difference).details


def _other_order(case: Case) -> list[str]:
    if case.swapped is None:
        return []
    pairs = zip(_calls(case.record), _calls(case.swapped), strict=False)
    here, there = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
    return paragraph(f"The same kernel is correct if {there} comes before {here}.") if here else []


def _calls(record: ScenarioRecord) -> list[str]:
    return [step.calls[0].op.text for step in record.steps if step.calls]


def _series_to_mend(case: Case) -> str:
    """Return the stable series that should get a fix, or an empty string."""
    if standing_of(case) is not Standing.NOT_BACKPORTED:
        return ""
    return lacking_series(case.defects[0], case.record.target.kernel)


def _joined(sections: Iterable[list[str]]) -> list[str]:
    """Return sections, separated by empty lines."""
    lines: list[str] = []
    for section in sections:
        lines += ["", *section] if lines else section
    return lines
