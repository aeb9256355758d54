"""Each citation of the kernel contract leads to a place in kvmprobe/model/contract."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from scripts import contract_coverage

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "kvmprobe" / "model" / "contract"
FILES = sorted(CONTRACT.glob("*.md"))
CITING = sorted(
    path
    for folder in ("kvmprobe", "scripts", "tests")
    for path in (ROOT / folder).glob("**/*")
    if path.suffix in {".py", ".toml"}
)
# "kernel contract sections 5 and 5.2", "contract §7.5": numbers follow up to another word.
_NUMBERS = r"((?:§?\d+(?:\.\d+)?(?:, | and | to )?)+)"
_SECTIONS = re.compile(rf"contract (?:sections? )?{_NUMBERS}", re.IGNORECASE)
_CORRECTIONS = re.compile(rf"live (?:corrections? )?{_NUMBERS}", re.IGNORECASE)


@cache
def text():
    return "\n".join(path.read_text() for path in FILES)


@cache
def sections():
    return set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", text(), re.MULTILINE))


def cited(pattern):
    """(file, number) of each citation; leaves of CPUID look like sections and are none."""
    return {
        (str(path.relative_to(ROOT)), number)
        for path in CITING
        for numbers in pattern.findall(path.read_text())
        for number in re.findall(r"(?<![x\w])\d+(?:\.\d+)?(?!x)", numbers)
    }


def missing(pattern, known):
    citations = cited(pattern)
    assert citations
    return sorted((path, number) for path, number in citations if number not in known)


def test_each_section_that_is_cited_exists():
    assert missing(_SECTIONS, sections()) == []


def test_each_correction_that_is_cited_exists():
    known = set(re.findall(r"^\* \*\*(\d+)\*\*", (CONTRACT / "live.md").read_text(), re.MULTILINE))
    assert missing(_CORRECTIONS, known) == []


def test_each_invariant_that_is_cited_exists():
    known = set(re.findall(r"\*\*INV-(\d+)\*\*", text()))
    assert missing(re.compile(r"INV-(\d+)"), known) == []
    assert known == {str(number) for number in range(1, len(known) + 1)}


def test_each_section_of_a_rule_exists():
    rules = contract_coverage.rules().values()
    named = {section for rule in rules for section in rule.sections}
    assert named
    assert named <= sections()


def test_each_statement_is_of_a_section():
    named = {row.section.partition(" ")[0].removeprefix("§") for row in contract_coverage.rows()}
    assert named - {"live"} <= sections()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_the_contract_has_at_most_500_lines(path):
    assert len(path.read_text().splitlines()) <= 500


def test_the_index_names_every_file():
    index = (CONTRACT / "README.md").read_text()
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == {p.name for p in FILES} - {"README.md"}
