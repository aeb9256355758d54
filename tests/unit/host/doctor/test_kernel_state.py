"""What the doctor says of taint, once-warnings, log, privilege and the layers below."""

import pytest

from kvmprobe.host.doctor.advice import Readiness
from kvmprobe.host.doctor.kernel_state import hypervisor_and_microcode, kernel_state
from kvmprobe.host.doctor.once_warnings import OnceWarnings, clear_fired, once_warnings
from tests.support.host_tree import HostTree

TAINTED, CLEAR = "/proc/sys/kernel/tainted", "/sys/kernel/debug/clear_warn_once"
# Documentation/admin-guide/tainted-kernels.rst: bit 9 W, bit 12 O.
W, O = 1 << 9, 1 << 12  # noqa: E741 - the kernel's letter
ROOT, USER = 0, 1000


@pytest.fixture
def host(tmp_path):
    tree = HostTree(tmp_path)
    tree.put(TAINTED, "0\n")
    tree.put("/dev/kmsg")
    return tree


def findings(host, euid=ROOT):
    return {advice.topic: advice for advice in kernel_state(host.files, euid)}


def below(bit=0, vendor="", microcode=("0x2b",), vulnerabilities=None):
    facts = {
        "environment": {
            "machine": {"hypervisor": {"bit": bit, "vendor": vendor}},
            "cpu": {"microcode": list(microcode), "vulnerabilities": vulnerabilities or {}},
        }
    }
    return {advice.topic: advice for advice in hypervisor_and_microcode(facts)}


def test_a_clean_kernel_seen_by_root_is_fine(host):
    assert {advice.readiness for advice in findings(host).values()} == {Readiness.FINE}


@pytest.mark.parametrize(
    ("value", "readiness"), [(W, Readiness.NOT_READY), (O, Readiness.WORTH_KNOWING)]
)
def test_only_an_earlier_fault_spoils_a_run(host, value, readiness):
    host.put(TAINTED, str(value))
    assert findings(host)["taint"].readiness is readiness


def test_a_kernel_that_never_warned_has_all_its_once_warnings(host):
    host.put(TAINTED, str(O))
    assert (once_warnings(host.files), clear_fired(host.files)) == (OnceWarnings.UNUSED, "")


def test_once_warnings_that_fired_are_reset_with_a_note(host):
    host.put(TAINTED, str(W))
    host.put(CLEAR)
    assert once_warnings(host.files) is OnceWarnings.CLEARABLE
    assert "were reset" in clear_fired(host.files)
    # Documentation/admin-guide/clearing-warn-once.rst: write 1.
    assert host.files.text(CLEAR) == "1"


def test_a_clean_kernels_debugfs_is_not_written_to(host):
    host.put(CLEAR)
    clear_fired(host.files)
    assert host.files.text(CLEAR) == ""


def test_once_warnings_that_cannot_be_renewed_may_be_consumed(host):
    host.put(TAINTED, str(W))
    assert once_warnings(host.files) is OnceWarnings.CONSUMED
    assert clear_fired(host.files).startswith("once-warnings that fired before")


def test_a_log_that_cannot_be_read_is_worth_knowing(host):
    host.files.path("/dev/kmsg").unlink()
    assert findings(host)["kernel log"].readiness is Readiness.WORTH_KNOWING


def test_a_user_gets_a_list_of_what_only_root_sees(host):
    assert findings(host, USER)["privilege"].readiness is Readiness.WORTH_KNOWING


def test_lockdown_is_reported_with_its_mode(host):
    host.put("/sys/kernel/security/lockdown", "none integrity [confidentiality]\n")
    assert findings(host)["lockdown"].finding.startswith("confidentiality")


def test_bare_metal_with_one_microcode_is_fine():
    assert {advice.readiness for advice in below().values()} == {Readiness.FINE}


def test_a_nested_host_is_reported_with_its_hypervisor():
    nesting = below(bit=1, vendor="KVMKVMKVM")["nesting"]
    assert (nesting.readiness, "KVMKVMKVM" in nesting.finding) == (Readiness.WORTH_KNOWING, True)


# arch/x86/kernel/cpu/bugs.c: old_microcode, and mds without VERW microcode.
@pytest.mark.parametrize(
    "vulnerabilities",
    [
        {"old_microcode": "Vulnerable"},
        {"mds": "Vulnerable: Clear CPU buffers attempted, no microcode"},
    ],
)
def test_outdated_microcode_is_reported(vulnerabilities):
    advice = below(vulnerabilities=vulnerabilities)["microcode"]
    assert (advice.readiness, bool(advice.remedy)) == (Readiness.WORTH_KNOWING, True)


def test_a_vulnerability_without_microcode_is_not_outdated_microcode():
    assert (
        below(vulnerabilities={"retbleed": "Vulnerable"})["microcode"].readiness is Readiness.FINE
    )


def test_cpus_with_different_microcode_are_reported():
    assert "different revisions" in below(microcode=("0x2b", "0x2c"))["microcode"].finding
