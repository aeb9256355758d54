"""The examples in the bindings' docstrings, and the guide of the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kvmprobe import bindings
from tests.support.examples import examples_of, run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("example", examples_of(bindings))
def test_an_example_returns_what_it_shows(example):
    run(example)


def test_the_guides_examples_return_what_they_show():
    # A process of its own: permission comes before the first vCPU.
    ended = subprocess.run(
        [sys.executable, "-m", "doctest", "kvmprobe/bindings/GUIDE.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
