"""Emulated hosts other than the default one: kernel parameters, processors."""

import json
import subprocess

import pytest

from tests.support.command import COMMAND

pytestmark = pytest.mark.lab
KERNEL = ("--kernel", "6.12.95")
PKRU, XTILE = 1 << 9, 0b11 << 17


def probed(*options):
    ended = subprocess.run(
        [*COMMAND, "probe", "--json", *KERNEL, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def without_pku():
    # A dash stands for an underscore, as everywhere in the kernel's parameters.
    return probed("--append", 'nopku kvm-intel.nested=0 kvm.ignore_msrs=1 unknown="a b"')


def test_the_kernel_has_the_parameters_at_the_end_of_its_command_line(without_pku):
    line = without_pku["facts"]["environment"]["kernel"]["cmdline"]
    assert line.endswith('nopku kvm-intel.nested=0 kvm.ignore_msrs=1 unknown="a b"')


def test_a_kernel_without_protection_keys_does_not_offer_them(without_pku):
    # Linux arch/x86/kernel/fpu/xstate.c: xsave_cpuid_features: PKRU needs X86_FEATURE_OSPKE
    assert not without_pku["facts"]["xcomp"]["GET_XCOMP_SUPP"] & PKRU


def test_modules_have_their_parameters(without_pku):
    found = without_pku["facts"]["kvm"]["parameters"]
    assert (found["kvm_intel"]["nested"], found["kvm"]["ignore_msrs"]) == ("N", "Y")


@pytest.fixture(scope="module")
def without_amx():
    return probed("--cpu", "no-amx", "--cpus", "2")


def test_a_processor_without_amx_is_one(without_amx):
    cpu = without_amx["facts"]["cpu"]
    assert (cpu["amx_tile"], cpu["xcr0_supported"] & XTILE, cpu["xfd"]) == (0, 0, 0)


def test_what_needs_amx_is_not_testable_there(without_amx):
    reasons = {kind["code"] for kind in without_amx["testable"] if not kind["testable"]}
    assert reasons == {"no_amx_cpu"}


def test_the_document_names_the_host(without_amx):
    assert without_amx["target"]["variant"] == {"cpu": "no-amx", "processors": 2}
