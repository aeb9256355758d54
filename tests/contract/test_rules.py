"""Each rule of the model says where it comes from."""

from __future__ import annotations

import re

import pytest

from kvmprobe.model.rule import KernelFile
from scripts import contract_coverage

RULES = contract_coverage.rules()


def test_it_names_a_file_of_the_kernel_by_its_path():
    # get_maintainer.pl takes this path: a bug report goes to whom it names.
    assert [name for name, rule in RULES.items() if not rule.kernel_files] == []


@pytest.mark.parametrize("file", KernelFile)
def test_a_kernel_file_is_a_path_from_the_top_of_the_tree(file):
    assert re.fullmatch(r"(arch/x86|virt/kvm|fs|kernel)(/\w+)*/\w+\.c", file)


def test_its_functions_are_identifiers():
    functions = {
        (name, getattr(source, "function", "f"))
        for name, rule in RULES.items()
        for source in rule.sources
    }
    assert [named for named in functions if not re.fullmatch(r"[a-z_]\w+|f", named[1])] == []


def test_its_statement_cites_nothing():
    # Sources and invariants are data.
    citing = re.compile(r"INV-|\.c\b|SDM|contract")
    assert [name for name, rule in RULES.items() if citing.search(rule.statement)] == []


def test_its_invariants_exist():
    known = {row.name for row in contract_coverage.rows()}
    unknown = {name: set(rule.invariants) - known for name, rule in RULES.items()}
    assert {name: invariants for name, invariants in unknown.items() if invariants} == {}
