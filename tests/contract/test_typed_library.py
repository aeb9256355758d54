"""A user's program under ``mypy --strict``: the guide is clean, and wrong programs are not."""

from __future__ import annotations

import doctest
import os
import re
import sys
from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]
# Each line is wrong where its comment says so.
WRONG = """\
from kvmprobe.bindings import Exit, HltExit, Kvm, MemoryFlag, Regs, Sregs, VcpuFd
from kvmprobe.model import Machine, sapphire_rapids, set_xfd
from kvmprobe.xstate import Layout, decode


def wrong(kvm: Kvm, vcpu: VcpuFd, layout: Layout) -> None:
    vcpu.set_regs(Sregs())  # arg-type
    Regs(eip=1)  # call-arg
    text: str = vcpu.get_xcr0()  # assignment
    vcpu.set_xsave("bytes")  # arg-type
    kvm.create_vcpu(0)  # attr-defined
    decode(b"", layout).mxcsr.upper()  # attr-defined
    set_xfd(Machine.fresh(sapphire_rapids()), 0, 0)  # arg-type


def of_every_exit(exited: Exit) -> int:
    return exited.port  # union-attr
"""


@pytest.fixture
def checked(tmp_path, monkeypatch):
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    deepest = sys.getrecursionlimit()

    def run(program):
        path = tmp_path / "program.py"
        path.write_text(program)
        options = ["--strict", "--follow-imports=silent", "--config-file", os.devnull]
        cache = f"--cache-dir={ROOT / '.mypy_cache' / 'library'}"
        return api.run([*options, cache, str(path)])[0]

    yield run
    sys.setrecursionlimit(deepest)  # which mypy raises for good


def test_the_guide_is_clean(checked):
    session = doctest.DocTestParser().get_examples(
        (ROOT / "kvmprobe/bindings/GUIDE.md").read_text()
    )
    program = "".join(example.source for example in session)
    assert "Success" in checked(program)


def test_wrong_programs_are_not(checked):
    found = re.findall(r"program.py:(\d+): error: .*\[([\w-]+)\]", checked(WRONG))
    expected = [
        (str(number), line.partition("  # ")[2])
        for number, line in enumerate(WRONG.splitlines(), 1)
        if "  # " in line
    ]
    assert sorted(set(found)) == sorted(expected)


def test_the_wheel_says_that_it_is_typed():
    # PEP 561
    assert (ROOT / "kvmprobe" / "py.typed").exists()
    assert '"kvmprobe" = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()
