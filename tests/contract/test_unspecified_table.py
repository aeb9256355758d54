"""The table of what the model leaves open is fresh, and everything in it has a use and evidence."""

from __future__ import annotations

import pytest

from kvmprobe.model.freedom import Freedom, Grounds
from scripts import freedom_evidence as evidence


def test_the_table_is_fresh():
    # scripts/unspecified_table writes it.
    assert evidence.TABLE.read_text() == evidence.table()


def test_each_freedom_is_used_and_has_evidence():
    assert evidence.problems(evidence.uses()) == []


def test_everything_that_the_model_leaves_open_names_a_freedom(on_each_host):
    assert on_each_host.undeclared == []


def test_a_freedom_without_a_source_is_refused():
    with pytest.raises(ValueError, match="without a source"):
        Grounds("open", "statement", (), "kept")


def test_a_freedom_that_nothing_uses_is_found():
    used = {**evidence.uses(), Freedom.MXCSR_MASK: []}
    assert evidence.problems(used) == ["MXCSR_MASK: nothing uses it"]


def test_what_programs_show_differs_between_processors():
    # The emulated processor finds components in INIT state by their content, silicon by their use.
    (answers,) = (
        answers
        for question, answers in evidence.shown()[Freedom.GUEST_XINUSE].items()
        if question == "sse-avx-after-a-load-of-zeros"
    )
    assert len(set(answers.values())) > 1
