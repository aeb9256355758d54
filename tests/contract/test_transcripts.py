"""What real kernels answered, judged again: the model says of it what it said when it was recorded.

``scripts/record_transcripts`` makes the files.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from kvmprobe.abi.payload import NO_EXCEPTION, PayloadResult
from kvmprobe.execution.recording import disagreements
from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.results.known import known_defects
from kvmprobe.results.transcript import Transcript
from scripts.refused_documents import accepted_documents, refused_documents

FOLDER = Path(__file__).parent.parent / "transcripts"
FILES = sorted(FOLDER.glob("*.xz"))
# The oldest line, one before and one after the fix of B1, one in between, the newest, and this
# project's development machine.
KERNELS = {"6.1.192", "6.12.43", "6.12.95", "6.17.8", "7.3.4", "host"}

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@cache
def read(path):
    return Transcript.from_bytes(path.read_bytes())


def test_the_kernels_that_matter_are_recorded():
    assert {path.stem for path in FILES} >= KERNELS


@each_file
def test_the_model_judges_the_kernel_as_before(path):
    assert list(disagreements(read(path))) == []


def test_a_defect_that_is_added_to_a_kernel_without_it_is_noticed():
    # scripts/mutate asks this of each behaviour.
    kernel = read(FOLDER / "7.3.4.xz")
    assert any(disagreements(kernel, Behaviour.SET_XSAVE_KEEPS_XFD_ARMED))


@each_file
def test_only_defects_that_the_probes_found_explain_a_divergence(path):
    transcript = read(path)
    found = {known_defects()[b].id for b in transcript.behaviours & DEFECTS}
    assert {known for entry in transcript.entries for known in entry.known} <= found


def last_vector(document):
    """The exception of the last XRSTORS in a document's scenario, as 7.3.4 answered."""
    entries = {entry.scenario.id: entry for entry in read(FOLDER / "7.3.4-documents.xz").entries}
    entry = entries[f"document.{document}"]
    numbers = [n for n, step in enumerate(entry.scenario.steps) if step.op.name == "guest-xrstor"]
    return PayloadResult.parse(entry.trace.steps[numbers[-1]].replies[0].output).vector


def test_a_kernel_showed_the_loss_of_ia32_xss():
    # The guest's own CET state, after a move with a list of MSRs without IA32_XSS, and with it.
    general_protection = 13
    vectors = [last_vector("cet-old-list"), last_vector("cet-new-list")]
    assert vectors == [general_protection, NO_EXCEPTION]


def test_what_the_model_cannot_judge_is_refused_or_not_judged():
    judged = [one.name for one in refused_documents() if not one.is_right()]
    assert judged == []


def test_each_of_them_says_why():
    assert [one.name for one in refused_documents() if not one.why] == []


def test_a_document_that_was_recorded_is_within_the_domain_there():
    recorded = list(accepted_documents(map(read, FOLDER.glob("*-documents.xz"))))
    assert recorded
    assert [one.scenario.id for one in recorded if not one.is_right()] == []


def test_one_survives_being_written_again():
    # The smallest: compressing costs more than judging.
    transcript = read(min(FILES, key=lambda path: path.stat().st_size))
    assert Transcript.from_bytes(transcript.to_bytes()) == transcript


def test_all_of_them_are_a_few_mib():
    assert sum(path.stat().st_size for path in FILES) < 8 << 20
