"""A search on a fake kernel."""

from __future__ import annotations

from itertools import count
from random import Random

from kvmprobe.execution.fuzzing import Fuzzing
from kvmprobe.execution.ledger import NoLedger
from kvmprobe.execution.settling import Hazardous
from kvmprobe.progress import Silent
from kvmprobe.results.growth import Strategy
from kvmprobe.search.guidance import Guidance
from kvmprobe.search.sequences import Sequences
from kvmprobe.search.values import ModelValues
from tests.support.hosts import AMX_HOST


def search(place, explained, batches, seed=1, grew=lambda _point: None):
    fuzzing = Fuzzing(place, Hazardous.EVERY, explained, NoLedger(), Silent())
    random = Random(seed)
    values = ModelValues(AMX_HOST, random)
    sequences = Sequences(AMX_HOST, random, values, fuzzing.missing)
    guidance = Guidance(random, sequences, Strategy.GUIDED)
    asked = count()
    found = fuzzing.run(guidance, "fuzz", lambda: next(asked) == batches, grew)
    return fuzzing, filter(is_meant, found)


def is_meant(failing):
    """Return False for what the fake kernel does wrong by itself.

    Its answers where the model has no rule can contradict each other, and it takes one op for
    another that makes the same call.
    """
    names = {op.name for _, op in failing.scenario.ops()}
    return failing.signature.kind == "divergence" and "run-until-out" not in names
