"""Each rule of the model says where it comes from."""

from __future__ import annotations

import re

import pytest

from kvmprobe.model.rule import KernelFile
from scripts import contract_coverage

RULES = contract_coverage.rules()
each_rule = pytest.mark.parametrize("name", RULES)


@each_rule
def test_it_names_a_file_of_the_kernel_by_its_path(name):
    # get_maintainer.pl takes this path: a bug report goes to whom it names.
    assert RULES[name].kernel_files


@pytest.mark.parametrize("file", KernelFile)
def test_a_kernel_file_is_a_path_from_the_top_of_the_tree(file):
    assert re.fullmatch(r"(arch/x86|virt/kvm|fs|kernel)(/\w+)*/\w+\.c", file)


@each_rule
def test_its_functions_are_identifiers(name):
    functions = [getattr(source, "function", "f") for source in RULES[name].sources]
    assert all(re.fullmatch(r"[a-z_]\w+|f", function) for function in functions)


@each_rule
def test_its_statement_cites_nothing(name):
    # Sources and invariants are data.
    assert not re.search(r"INV-|\.c\b|SDM|contract", RULES[name].statement)


@each_rule
def test_its_invariants_exist(name):
    known = {row.name for row in contract_coverage.rows()}
    assert set(RULES[name].invariants) <= known
