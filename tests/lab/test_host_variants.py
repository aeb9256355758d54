"""Emulated hosts other than the default one: kernel parameters, processors."""

import json
import subprocess

import pytest

from kvmprobe.host.files import HostFiles
from kvmprobe.results.host_variant import HostVariant
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.results.run_document import read_run
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


def test_a_probe_finds_that_unsupported_msrs_are_ignored(without_pku):
    # Linux arch/x86/kvm/x86.c: kvm_do_msr_access, ignore_msrs
    assert "UNSUPPORTED_MSRS_IGNORED" in without_pku["behaviours"]


@pytest.fixture(scope="module")
def without_xsaves():
    return probed("--cpu", "no-xsaves")


def test_a_processor_without_xsaves_has_no_amx(without_xsaves):
    cpu = without_xsaves["facts"]["cpu"]
    found = (cpu["xsaves"], cpu["amx_tile"], cpu["xcr0_supported"] & XTILE, cpu["xfd"])
    assert found == (0, 0, 0, 0)


def test_what_needs_amx_is_not_testable_there(without_xsaves):
    reasons = {kind["code"] for kind in without_xsaves["testable"] if not kind["testable"]}
    assert reasons == {"no_amx_cpu"}


def test_a_probe_finds_the_standard_format_there(without_xsaves):
    # SDM vol.1 §13.8.1: XRSTOR loads MXCSR whatever XSTATE_BV says
    assert "STANDARD_FORMAT" in without_xsaves["behaviours"]


def test_the_document_names_the_host(without_xsaves):
    assert without_xsaves["target"]["variant"] == {"cpu": "no-xsaves"}


def test_a_run_is_resumed_on_the_same_host(without_xsaves, tmp_path):
    assert without_xsaves
    begin = {
        "run_id": "3b0c0f5e-5dd8-4d0c-a1e5-5b3f3f0b8f55",
        "tool": "kvmprobe 0.1.0",
        "command": ["kvmprobe", "run"],
        "argv": ["run", *KERNEL, "--cpu", "no-xsaves", "--observe", "each"],
        "directory": str(tmp_path),
        "boot_id": HostFiles().boot_id(),
        "time": "2026-01-01T00:00:00Z",
        "planned": ["xcrs.single.cpuid"],
    }
    RunDirectory.create(tmp_path / "run", begin).close()
    subprocess.run([*COMMAND, "resume", str(tmp_path / "run")], check=True, capture_output=True)
    (target,) = read_run(tmp_path / "run").targets
    assert target.variant == HostVariant(cpu="no-xsaves")
