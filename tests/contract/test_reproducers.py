"""Every op can be written as C that a compiler has nothing to say about."""

from __future__ import annotations

import pytest

from kvmprobe.abi.c_constants import c_constants
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.repro import chunks
from kvmprobe.repro.other_hosts import Profile
from kvmprobe.repro.program import program
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import Ioctl
from tests.support.reproducers import check_syntax

HOST = sapphire_rapids()


def features_of(scenario):
    """The ops of a scenario, and the forms of their arguments."""
    for _, op in scenario.ops():
        call = op.lower(HOST)
        form = type(call.argument).__name__ if isinstance(call, Ioctl) else type(call).__name__
        yield type(op).__name__, form, bool(getattr(call, "by", "")), getattr(call, "relation", "")


def sample():
    """Return few scenarios that have all ops in all forms."""
    by_id = {s.id: s for s in catalog.scenarios(HOST)}
    having = {name: frozenset(features_of(s)) for name, s in by_id.items()}
    left = frozenset().union(*having.values())
    chosen = []
    while left:
        best = max(having, key=lambda name: len(having[name] & left))
        chosen.append(best)
        left -= having[best]
    return [by_id[name] for name in chosen]


@pytest.fixture(scope="module")
def programs():
    """The text of the sample's programs, by id."""
    return {s.id: program(s, HOST, Profile.EXAMINED) for s in sample()}


def test_every_op_in_every_form_compiles_without_a_warning(programs):
    warnings = {name: check_syntax(text) for name, text in programs.items()}
    assert {name: said for name, said in warnings.items() if said} == {}


def test_every_definition_ready_made_is_used_by_some_program(programs):
    unused = [
        sorted(chunk.defines)
        for chunk in chunks.all_chunks()
        if not any(chunk.text in text for text in programs.values())
    ]
    # Constants for values that the sample does not have are no loss.
    constants = ("XFEATURE", "MSR_", "XSAVE_", "KVM_", *c_constants())
    assert [names for names in unused if not names[0].startswith(constants)] == []
