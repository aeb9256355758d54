"""The probes distinguish kernels by how they handle CPUID tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmprobe.execution.driver import Driver, Timing
from kvmprobe.execution.probing import examine
from kvmprobe.model.behaviours import Behaviour
from tests.support.fake_link import FakePlace
from tests.support.hosts import AMX_HOST, AVX512_HOST, with_behaviours

NENT = Behaviour.GET_CPUID2_KEEPS_NENT
SGX = Behaviour.SGX_XFRM_FOLLOWS_XCR0
B4 = Behaviour.XTILE_CFG_ADVERTISED_ALONE
HIDES = Behaviour.HIDES_XSAVE_FEATURES
REWRITES = Behaviour.VENDOR_REWRITES_CPUID
# kvm_pvm offers guests no XSAVE instruction, although the CPU has them.
PVM = replace(AVX512_HOST, supported=AVX512_HOST.supported.replaced(0xD, 1, eax=0, ebx=0))


@pytest.mark.parametrize(
    ("host", "behaviours"),
    [
        (AMX_HOST, {NENT}),
        (AMX_HOST, {SGX}),
        (AMX_HOST, {NENT, SGX, B4}),
        (AVX512_HOST, {REWRITES}),
        (PVM, {HIDES, REWRITES}),
    ],
    ids=["nent", "sgx", "6.1", "rewrites", "pvm"],
)
def test_probing_finds_exactly_the_kernels_cpuid_behaviours(host, behaviours):
    place = FakePlace(with_behaviours(host, *behaviours))
    found = examine(Driver(place.open(), Timing()))
    assert (found.profile.behaviours, found.undetermined) == (frozenset(behaviours), frozenset())
