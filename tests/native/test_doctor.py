"""What the doctor says of this host, and what the environment record has of it."""

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from kvmprobe.bindings.kvm import Kvm
from kvmprobe.host.doctor.shared_host import other_machines
from kvmprobe.host.files import HostFiles
from tests.support.command import COMMAND

TOPICS = {
    "panic", "panic_on_oops", "panic_on_warn", "hung_task_panic", "softlockup_panic", "sysrq",
    "lockup detection", "kdump", "pstore", "netconsole", "serial console", "watchdog", "taint",
    "once-warnings", "kernel log", "lockdown", "privilege", "nesting", "microcode", "errata",
    "virtual machines", "services", "uptime", "free space: runs", "free space: cache",
    "free space: temporary files",
}  # fmt: skip


@pytest.fixture(scope="module")
def document():
    ended = subprocess.run(
        [*COMMAND, "probe", "--json"], capture_output=True, text=True, check=True
    )
    return json.loads(ended.stdout)


def test_probe_advises_on_every_topic(document):
    topics = {advice["topic"] for advice in document["doctor"]}
    assert TOPICS <= topics <= TOPICS | {"crash report", "armed settings"}


def test_a_failed_check_has_a_remedy(document):
    grave = [advice for advice in document["doctor"] if advice["readiness"] == "not ready"]
    assert [advice for advice in grave if not advice["remedy"]] == []


def test_the_record_is_of_this_host_and_this_tool(document):
    environment = document["facts"]["environment"]
    assert environment["tool"]["python"] == platform.python_version()
    cmdline = Path("/proc/cmdline").read_text().strip()
    assert environment["kernel"]["cmdline"] == cmdline


def test_the_record_has_the_processors_own_leaves(document):
    # Two ways to the same number: the signature that the package reads, and leaf 1 EAX of the dump.
    leaves = {
        tuple(leaf[:2]): leaf[2:] for leaf in document["facts"]["environment"]["cpu"]["cpuid"]
    }
    assert leaves[1, 0][0] == document["facts"]["cpu"]["signature"]


def test_probe_prints_the_same_as_text_and_as_json(document):
    text = subprocess.run([*COMMAND, "probe"], capture_output=True, text=True, check=True).stdout
    assert text.startswith("testable here")
    assert text.index("readiness for an unattended run") < text.index("behaviours of this kernel")
    assert document["facts"]["environment"]["kernel"]["build_id"] in text


def test_a_machine_of_this_process_is_seen_from_another(kvm):
    with kvm.create_vm():
        seen = {machine.pid for machine in other_machines(HostFiles(), own_pid=1)}
    assert os.getpid() in seen


def test_opening_kvm_is_not_holding_a_machine():
    with Kvm.open():
        seen = {machine.pid for machine in other_machines(HostFiles(), own_pid=1)}
    assert os.getpid() not in seen


def test_disarming_a_host_that_is_not_armed_says_so():
    ended = subprocess.run(
        [*COMMAND, "probe", "--disarm"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, "nothing is armed" in ended.stderr) == (0, True)
