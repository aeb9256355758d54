"""Sizes and docstrings of the code; layering is import-linter's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import kvmprobe

PACKAGE = Path(kvmprobe.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# These hold data; all other modules of the model mirror functions of the kernel.
DATA = {"__init__", "behaviours", "host", "machine", "outcome"}


def name_of(path):
    return str(path.relative_to(PACKAGE))


def public_functions(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def documented(path):
    return bool(ast.get_docstring(ast.parse(path.read_text())))


def test_no_module_is_longer_than_500_lines():
    assert [name_of(p) for p in MODULES if len(p.read_text().splitlines()) > 500] == []


def test_every_module_says_what_it_is_for():
    assert [name_of(p) for p in MODULES if p.stat().st_size and not documented(p)] == []


def test_every_model_function_names_the_kernels():
    mirrors = [
        (f"{path.stem}.{function.name}", ast.get_docstring(function) or "")
        for path in (PACKAGE / "model").glob("*.py")
        if path.stem not in DATA
        for function in public_functions(path)
    ]
    assert [name for name, text in mirrors if ":see:" not in text] == []


def test_no_module_accepts_anything():
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [name_of(p) for p in MODULES if p.name in vague] == []


@pytest.mark.parametrize("package", ["model", "xstate", "scenarios", "results", "abi"])
def test_no_pure_package_asks_for_the_kernels_version(package):
    # The architecture's anti-pattern 7: behaviours are probed, never derived from a version.
    asking = re.compile(r"\b(uname|platform)\b")
    modules = [p for p in MODULES if p.is_relative_to(PACKAGE / package)]
    assert modules
    assert [p for p in modules if asking.search(p.read_text())] == []
