"""Which processors the doctor warns of."""

import pytest

from kvmprobe.host.doctor.advice import Readiness
from kvmprobe.host.doctor.errata import AMD, INTEL, Processor, errata

# Leaf 1 EAX: extended family 27:20, extended model 19:16, type, family, model, stepping.
SAPPHIRE_RAPIDS, EMERALD_RAPIDS = 0x000806F8, 0x000C06F2
ROME_0, ROME_1, MILAN, NAPLES_2 = 0x00830F10, 0x00830F11, 0x00A00F11, 0x00800F12
GENOA, TURIN = 0x00A10F11, 0x00B00F21


def findings(vendor, signature, microcode="0x1", bugs=(), virtual=0):
    return errata(
        {
            "cpu": {"vendor": vendor, "signature": signature},
            "environment": {
                "cpu": {"microcode": [microcode] if microcode else [], "bugs": list(bugs)},
                "machine": {"hypervisor": {"bit": virtual, "vendor": ""}},
            },
        }
    )


def names(advice):
    return {a.finding.partition(":")[0].removeprefix("erratum ") for a in advice if a.remedy}


@pytest.mark.parametrize(
    ("signature", "family", "model", "stepping"),
    [
        # SDM vol.2 CPUID: extended model for families 6 and 15, extended family for 15.
        (SAPPHIRE_RAPIDS, 6, 0x8F, 8),
        (EMERALD_RAPIDS, 6, 0xCF, 2),
        (ROME_0, 0x17, 0x31, 0),
        (MILAN, 0x19, 0x01, 1),
        (0x00000543, 5, 4, 3),
    ],
)
def test_a_signature_is_taken_apart_as_the_manual_says(signature, family, model, stepping):
    taken = Processor.of(INTEL, signature)
    assert (taken.family, taken.model, taken.stepping) == (family, model, stepping)


def test_sapphire_rapids_may_lose_tiles_by_itself():
    assert names(findings(INTEL, SAPPHIRE_RAPIDS)) == {"SPR4"}


def test_another_intel_processor_has_none_that_is_known():
    (advice,) = findings(INTEL, EMERALD_RAPIDS)
    assert (advice.readiness, "0x6-0xcf-0x2" in advice.finding) == (Readiness.FINE, True)


# Linux, arch/x86/kernel/cpu/amd.c: erratum_1386_microcode and cpu_has_zenbleed_microcode; the last
# two were measured.
@pytest.mark.parametrize(
    ("signature", "microcode", "found"),
    [
        (ROME_0, "0x8301051", {"1386", "Zenbleed"}),
        (ROME_0, "0x8301052", {"Zenbleed"}),
        (ROME_0, "0x830107a", {"Zenbleed"}),
        (ROME_0, "0x830107b", set()),
        (ROME_1, "0x830107b", {"1386"}),
        (NAPLES_2, "0x800126d", {"1386"}),
        (NAPLES_2, "0x800126e", set()),
        (ROME_0, "", {"1386", "Zenbleed"}),
        (MILAN, "0x1", set()),
        (GENOA, "0x1", {"stale AVX state"}),
        (TURIN, "0x1", {"stale AVX state"}),
    ],
)
def test_microcode_mends_the_amd_errata_from_the_kernels_revisions_on(signature, microcode, found):
    assert names(findings(AMD, signature, microcode)) == found


def test_an_amd_signature_of_another_vendor_is_not_amds():
    assert names(findings("HygonGenuine", ROME_0)) == set()


def test_the_fxsave_leak_is_found_by_the_kernels_bug_flag():
    (advice,) = findings(AMD, 0x00100F42, bugs=("fxsave_leak",))
    assert "FOP, FIP and FDP" in advice.finding


def test_a_hypervisor_may_hide_the_processor():
    (advice,) = findings(INTEL, EMERALD_RAPIDS, virtual=1)
    assert advice.readiness is Readiness.WORTH_KNOWING
