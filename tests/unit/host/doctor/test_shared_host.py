"""Whom a panic would take along, and what `run` refuses for it."""

import pytest

from kvmprobe.errors import ExitCode, Unavailable
from kvmprobe.host import checks
from kvmprobe.host.doctor.advice import Readiness
from kvmprobe.host.doctor.shared_host import Machine, other_machines, shared_host, uptime
from tests.support.host_tree import HostTree

# virt/kvm/kvm_main.c: anon_inode_getfile("kvm-vm"); a vCPU's is "anon_inode:kvm-vcpu:0".
VM, VCPU, SOCKET = "anon_inode:kvm-vm", "anon_inode:kvm-vcpu:0", "socket:[4711]"
OWN = 100


@pytest.fixture
def host(tmp_path):
    tree = HostTree(tmp_path)
    tree.process(1, "systemd", [SOCKET])
    tree.process(OWN, "python3", [VM])
    return tree


def test_our_own_machines_are_no_company(host):
    assert other_machines(host.files, OWN) == ()


def test_a_process_that_holds_a_machine_is_found_by_its_descriptor(host):
    host.process(200, "qemu-system-x86", [SOCKET, "/dev/kvm", VM, VCPU])
    assert other_machines(host.files, OWN) == (Machine(200, "qemu-system-x86"),)


def test_a_process_that_only_opened_kvm_has_no_machine(host):
    host.process(200, "libvirtd", ["/dev/kvm"])
    assert other_machines(host.files, OWN) == ()


def test_a_vm_of_another_namespace_is_found_in_debugfs(host):
    # kvm_create_vm_debugfs: a directory PID-FD for each VM.
    host.put(f"/sys/kernel/debug/kvm/{OWN}-9/exits")
    host.put("/sys/kernel/debug/kvm/4000-12/exits")
    host.put("/sys/kernel/debug/kvm/exits")
    assert other_machines(host.files, OWN) == (Machine(4000, ""),)


def test_a_vm_that_is_in_both_is_listed_once(host):
    host.process(200, "qemu-system-x86", [VM])
    host.put("/sys/kernel/debug/kvm/200-12/exits")
    assert other_machines(host.files, OWN) == (Machine(200, "qemu-system-x86"),)


def test_a_process_that_may_not_be_looked_into_is_passed_over(host):
    host.put("/proc/300/comm", "sshd\n")
    assert other_machines(host.files, OWN) == ()


def test_a_host_with_other_machines_is_not_ready(host):
    host.process(200, "firecracker", [VM])
    advice = next(a for a in shared_host(host.files) if a.topic == "virtual machines")
    assert (advice.readiness, "firecracker (pid 200)" in advice.finding) == (
        Readiness.NOT_READY,
        True,
    )


def test_a_host_that_people_depend_on_is_not_ready(host):
    host.process(300, "postgres")
    advice = next(a for a in shared_host(host.files) if a.topic == "services")
    assert (advice.readiness, "postgres" in advice.finding) == (Readiness.NOT_READY, True)


def test_a_run_that_may_kill_the_host_is_refused_beside_other_machines(host):
    host.process(200, "firecracker", [VM])
    with pytest.raises(
        Unavailable, match=r"1 other .* firecracker \(pid 200\).*--shared"
    ) as refused:
        checks.refuse_other_vms(host.files, OWN)
    assert (refused.value.code, refused.value.exit_code) == ("busy", ExitCode.NOTHING_RAN)


def test_a_run_alone_is_not_refused(host):
    checks.refuse_other_vms(host.files, OWN)


# Documentation/admin-guide/tainted-kernels.rst: M 4, B 5, D 7, W 9, L 14.
@pytest.mark.parametrize("bit", [4, 5, 7, 9, 14])
def test_a_kernel_that_had_a_fault_is_refused(host, bit):
    host.put("/proc/sys/kernel/tainted", str(1 << bit))
    with pytest.raises(Unavailable, match="--allow-tainted") as refused:
        checks.refuse_tainted(host.files)
    assert (refused.value.code, refused.value.exit_code) == ("tainted", ExitCode.NOTHING_RAN)


@pytest.mark.parametrize("value", [0, 1 << 0 | 1 << 12 | 1 << 13])
def test_a_clean_kernel_and_one_with_foreign_modules_are_not_refused(host, value):
    host.put("/proc/sys/kernel/tainted", str(value))
    checks.refuse_tainted(host.files)


def test_what_a_run_goes_on_with_is_noted(host):
    host.put("/proc/sys/kernel/tainted", str(1 << 9))
    host.process(200, "firecracker", [VM])
    taint, machines = checks.notes(host.files, OWN)
    assert ("W: the kernel issued a warning" in taint, "firecracker" in machines) == (True, True)


def test_services_get_a_warning_before_a_hazardous_run(host):
    assert checks.service_warning(host.files) == ""
    host.process(300, "kubelet")
    assert "INTERRUPTS kubelet" in checks.service_warning(host.files)


@pytest.mark.parametrize(
    ("days", "readiness"), [(29, Readiness.FINE), (30, Readiness.WORTH_KNOWING)]
)
def test_a_host_that_has_been_up_for_a_month_may_be_counted_on(days, readiness):
    assert uptime(days * 86400 + 1, 0).readiness is readiness
