"""A host's profile on a processor that lacks some features."""

from dataclasses import replace

import pytest

from kvmprobe.execution.preflight import profile_of
from kvmprobe.lab.cpu_profile import PROFILES
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.feature import IBT, SHSTK, offers
from kvmprobe.model.lesser_cpu import NAMES, on_lesser_cpu
from tests.support.recorded_scenarios import transcript


def found_on(name):
    """The profile that probes found on an emulated host, without its kernel's behaviours."""
    return profile_of(transcript(name).facts)


def present(table):
    return [entry for entry in table.entries if any(entry[3:])]


def test_its_names_are_those_of_the_emulated_hosts_processors():
    assert set(NAMES) == set(PROFILES)


@pytest.mark.parametrize("name", ["no-pku", "no-xsaves"])
def test_it_is_what_probes_find_on_that_processor(name):
    wanted = found_on(f"7.3.4-{name}-documents")
    derived = on_lesser_cpu(found_on("7.3.4-documents"), name)
    tables = ("cpu", "supported")
    assert [present(getattr(derived, t)) for t in tables] == [
        present(getattr(wanted, t)) for t in tables
    ]
    others = dict.fromkeys(tables, wanted.cpu) | {"behaviours": frozenset()}
    assert replace(derived, **others) == replace(wanted, **others)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_lacks_is_not_offered(name):
    host = on_lesser_cpu(found_on("7.3.4-documents"), name)
    # Components of SDM vol.1 table 13-1: AVX-512 5 to 7, PKRU 9, CET 11 and 12, AMX 17 and 18.
    lacks = {
        "no-amx": 0x60000,
        "no-avx512": 0x600E0,
        "no-cet": 0x1800,
        "no-pku": 0x200,
        "no-xsaves": 0x61800,
    }[name]
    offered = host.user_features | host.kvm_xcr0 | host.kvm_xss | host.layout.bitmap
    assert offered & lacks == 0
    assert host.supported.xcr0 & lacks == 0


def test_without_cet_neither_part_is_offered():
    host = on_lesser_cpu(found_on("7.3.4-documents"), "no-cet")
    assert not offers(host, SHSTK)
    assert not offers(host, IBT)


def test_without_xsavec_state_is_in_the_standard_format():
    host = on_lesser_cpu(found_on("7.3.4-documents"), "no-xsaves")
    assert Behaviour.STANDARD_FORMAT in host.behaviours
