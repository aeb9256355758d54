"""The examples in the docstrings of what needs no kernel."""

from __future__ import annotations

import pytest

from kvmprobe import model, xstate
from tests.support.examples import examples_of, run


@pytest.mark.parametrize("example", [*examples_of(xstate), *examples_of(model)])
def test_an_example_returns_what_it_shows(example):
    run(example)
