"""Who else suffers if this host dies: virtual machines, people, services.

:see: virt/kvm/kvm_main.c: kvm_create_vm, kvm_create_vm_debugfs ("kvm-vm", PID-FD)
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from kvmprobe.host.doctor.advice import Advice, fine, not_ready, worth_knowing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmprobe.host.files import HostFiles

_VM_DESCRIPTOR = "anon_inode:kvm-vm"
_DEBUGFS, _DEBUGFS_VM = "/sys/kernel/debug/kvm", re.compile(r"(\d+)-\d+")
_SHOWN = 5
_DAY = 24 * 60 * 60
_LONG_UP_DAYS = 30
# Programs whose hosts are meant to stay up: clusters, storage, databases, virtualization, web.
SERVICES = frozenset(
    {
        "ceph-mon", "ceph-osd", "corosync", "etcd", "haproxy", "keepalived", "kubelet", "mariadbd",
        "mongod", "mysqld", "named", "nfsd", "nginx", "pacemakerd", "postgres", "pveproxy",
        "redis-server", "slapd", "slurmctld", "slurmd",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """A process that holds a VM; ``name`` is empty where only KVM tells of it."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name or 'another namespace'} (pid {self.pid})"


def other_machines(files: HostFiles, own_pid: int) -> tuple[Machine, ...]:
    """Return the processes but our own that hold a VM, as far as we may look into them."""
    found: dict[int, Machine] = {}
    for folder in files.entries("/proc"):
        if folder.name.isdigit() and int(folder.name) != own_pid and _holds_machine(folder):
            found[int(folder.name)] = Machine(int(folder.name), _name(folder))
    for folder in files.entries(_DEBUGFS):
        told = _DEBUGFS_VM.fullmatch(folder.name)
        if told and int(told[1]) not in {own_pid, *found}:
            found[int(told[1])] = Machine(int(told[1]), "")
    return tuple(found.values())


def shown(machines: tuple[Machine, ...]) -> str:
    """Name some of them."""
    more = f" and {len(machines) - _SHOWN} more" if len(machines) > _SHOWN else ""
    return ", ".join(map(str, machines[:_SHOWN])) + more


def company(files: HostFiles) -> Iterator[Advice]:
    """Tell of VMs and of services that want this host to stay up."""
    machines = other_machines(files, os.getpid())
    if machines:
        yield not_ready(
            "virtual machines",
            f"{len(machines)} processes run VMs here: {shown(machines)}; a panic takes them along",
            "end or move them; `run --hazardous` refuses without --shared",
        )
    elif os.geteuid() == 0:
        yield fine("virtual machines", "none but our own")
    else:
        told = "none of this user's; others' are for root to see"
        yield worth_knowing("virtual machines", told)
    yield _services(files)


def uptime(seconds: float, users: int) -> Advice:
    """Tell how long the host has been up, and who is logged in.

    :param seconds: since boot
    :param users: sessions
    """
    days = int(seconds // _DAY)
    said = f"up for {days} days, {users} sessions of users"
    if days >= _LONG_UP_DAYS:
        told = f"{said}: somebody may count on this host to stay up"
        return worth_knowing("uptime", told, "ask; a kernel under test may panic")
    return fine("uptime", said)


def uptime_now() -> Advice:
    """Tell :func:`uptime` of this host."""
    return uptime(time.time() - psutil.boot_time(), len(psutil.users()))


def running_services(files: HostFiles) -> list[str]:
    """Return the programs here whose hosts are meant to stay up."""
    folders = (path for path in files.entries("/proc") if path.name.isdigit())
    return sorted({_name(folder) for folder in folders} & SERVICES)


def _services(files: HostFiles) -> Advice:
    found = running_services(files)
    if not found:
        return fine("services", "none known that is meant to stay up")
    told = f"THIS HOST RUNS {', '.join(found)}: a panic interrupts who uses them"
    return not_ready("services", told, "run kvmprobe on another host, or on the emulated one")


def _holds_machine(process: Path) -> bool:
    try:
        return any(map(_is_machine, (process / "fd").iterdir()))
    except OSError:
        # Gone, or another user's.
        return False


def _is_machine(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == _VM_DESCRIPTOR
    except OSError:
        return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
