"""The environment record from made-up /proc, /sys and /boot; CPUID is this processor's."""

import gzip
import hashlib
import json

import pytest

from kvmprobe.host.environment import gather
from tests.support.host_tree import HostTree

RELEASE = "6.12.95"


@pytest.fixture
def host(tmp_path):
    return HostTree(tmp_path)


def record(host):
    return gather(RELEASE, host.files)


def note(name, kind, description):
    """elf(5): sizes of name and description, type, both padded to 4 bytes."""
    head = b"".join(n.to_bytes(4, "little") for n in (len(name), len(description), kind))
    return head + b"".join(part + bytes(-len(part) % 4) for part in (name, description))


def test_an_empty_host_has_a_record_that_says_what_is_absent(host):
    empty = record(host)
    assert empty["kernel"]["build_id"] is None
    assert empty["absent"]["/sys/kernel/notes"] == "No such file or directory"
    assert json.loads(json.dumps(empty)) == empty


def test_the_build_id_is_the_gnu_note_of_type_3_wherever_it_stands(host):
    notes = note(b"Xen\0", 3, b"\x11" * 8) + note(b"GNU\0", 1, b"\x22" * 16)
    host.put(
        "/sys/kernel/notes", notes + note(b"Linux\0", 0, b"7") + note(b"GNU\0", 3, b"\xab\xcd")
    )
    assert record(host)["kernel"]["build_id"] == "abcd"


@pytest.mark.parametrize("notes", [b"", b"\x04", note(b"GNU\0", 3, b"\xab" * 20)[:10]])
def test_notes_that_are_cut_short_have_no_build_id(host, notes):
    host.put("/sys/kernel/notes", notes)
    found = record(host)
    assert (found["kernel"]["build_id"], found["absent"]["/sys/kernel/notes"]) == (
        None,
        "has no GNU build id",
    )


def test_the_configurations_hash_is_of_its_text_packed_or_not(host):
    text = b"CONFIG_KVM=m\n"
    host.put(f"/boot/config-{RELEASE}", text)
    assert record(host)["kernel"]["config"] == {
        "source": f"/boot/config-{RELEASE}",
        "sha256": hashlib.sha256(text).hexdigest(),
    }
    host.put("/proc/config.gz", gzip.compress(text))
    assert record(host)["kernel"]["config"] == {
        "source": "/proc/config.gz",
        "sha256": hashlib.sha256(text).hexdigest(),
    }


def test_a_broken_config_gz_is_reported_and_the_other_one_used(host):
    host.put("/proc/config.gz", b"no gzip")
    host.put(f"/boot/config-{RELEASE}", b"CONFIG_KVM=m\n")
    found = record(host)
    assert found["kernel"]["config"]["source"] == f"/boot/config-{RELEASE}"
    assert "incorrect header" in found["absent"]["/proc/config.gz"]


def test_taint_has_its_letters_and_meanings(host):
    # Documentation/admin-guide/tainted-kernels.rst: W is bit 9, O bit 12.
    host.put("/proc/sys/kernel/tainted", "4608\n")
    assert record(host)["kernel"]["taint"] == {
        "value": 4608,
        "letters": "WO",
        "meanings": [
            "the kernel issued a warning",
            "an out-of-tree module was loaded",
        ],
    }


def test_each_microcode_revision_is_listed_once(host):
    cpu = "processor\t: {}\nmicrocode\t: {}\nbugs\t\t: spectre_v1 bhi\n\n"
    host.put("/proc/cpuinfo", cpu.format(0, "0x2b") + cpu.format(1, "0x2b") + cpu.format(2, "0x2c"))
    found = record(host)["cpu"]
    assert (found["microcode"], found["bugs"]) == (["0x2b", "0x2c"], ["bhi", "spectre_v1"])


def test_lockdown_is_the_word_in_brackets(host):
    host.put("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    assert record(host)["kernel"]["lockdown"] == "integrity"


def test_no_serial_number_of_the_firmware_is_recorded(host):
    host.put("/sys/class/dmi/id/board_name", "X13\n")
    host.put("/sys/class/dmi/id/board_serial", "12345\n")
    assert record(host)["machine"]["dmi"] == {"board_name": "X13"}


def test_vulnerabilities_are_recorded_unchanged(host):
    folder = "/sys/devices/system/cpu/vulnerabilities"
    host.put(f"{folder}/mds", "Vulnerable: No microcode\n")
    assert record(host)["cpu"]["vulnerabilities"] == {"mds": "Vulnerable: No microcode"}


def test_a_file_that_is_not_text_is_recorded(host):
    host.put("/proc/cmdline", b"quiet \xff\n")
    assert record(host)["kernel"]["cmdline"] == "quiet �"
