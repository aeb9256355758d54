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


KERNEL_MIRRORS = [
    pytest.param(node, id=f"{path.stem}.{node.name}")
    for path in sorted((PACKAGE / "model").glob("*.py"))
    if path.stem not in DATA
    for node in public_functions(path)
]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_longer_than_500_lines(path):
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", [p for p in MODULES if p.stat().st_size], ids=name_of)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("function", KERNEL_MIRRORS)
def test_every_model_function_names_the_kernels(function):
    assert ":see:" in (ast.get_docstring(function) or "")


@pytest.mark.parametrize("name", ["utils.py", "util.py", "helpers.py", "common.py", "misc.py"])
def test_no_module_accepts_anything(name):
    assert [p for p in MODULES if p.name == name] == []


@pytest.mark.parametrize("package", ["model", "xstate", "scenarios", "results", "abi"])
def test_no_pure_package_asks_for_the_kernels_version(package):
    # The architecture's anti-pattern 7: behaviours are probed, never derived from a version.
    asking = re.compile(r"\b(uname|platform)\b")
    modules = (PACKAGE / package).rglob("*.py")
    assert [p for p in modules if asking.search(p.read_text())] == []
