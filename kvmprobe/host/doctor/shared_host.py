"""Who else uses this host and is interrupted by a panic: virtual machines, users, services.

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
# Programs that others depend on: clusters, storage, databases, virtualization, web.
SERVICES = frozenset(
    {
        "ceph-mon", "ceph-osd", "corosync", "etcd", "haproxy", "keepalived", "kubelet", "mariadbd",
        "mongod", "mysqld", "named", "nfsd", "nginx", "pacemakerd", "postgres", "pveproxy",
        "redis-server", "slapd", "slurmctld", "slurmd",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """A process that runs VMs; ``name`` is empty if it is known from KVM's debugfs only."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name or 'in another PID namespace'} (pid {self.pid})"


def other_machines(files: HostFiles, own_pid: int) -> tuple[Machine, ...]:
    """Return the processes that have a VM open, without our own and those we may not inspect."""
    found: dict[int, Machine] = {}
    for folder in files.entries("/proc"):
        if folder.name.isdigit() and int(folder.name) != own_pid and _holds_machine(folder):
            found[int(folder.name)] = Machine(int(folder.name), _name(folder))
    for folder in files.entries(_DEBUGFS):
        match = _DEBUGFS_VM.fullmatch(folder.name)
        if match and int(match[1]) not in {own_pid, *found}:
            found[int(match[1])] = Machine(int(match[1]), "")
    return tuple(found.values())


def shown(machines: tuple[Machine, ...]) -> str:
    """Return the first few as text."""
    more = f" and {len(machines) - _SHOWN} more" if len(machines) > _SHOWN else ""
    return ", ".join(map(str, machines[:_SHOWN])) + more


def shared_host(files: HostFiles) -> Iterator[Advice]:
    """Yield findings about VMs and services that a panic would interrupt."""
    machines = other_machines(files, os.getpid())
    if machines:
        yield not_ready(
            "virtual machines",
            f"{len(machines)} processes run VMs: {shown(machines)}; a panic kills them",
            "stop or migrate them; `run --hazardous` needs --shared while they run",
        )
    elif os.geteuid() == 0:
        yield fine("virtual machines", "no other process runs VMs")
    else:
        yield worth_knowing(
            "virtual machines",
            "this user runs none; only root can see those of other users",
        )
    yield _services(files)


def uptime(seconds: float, users: int) -> Advice:
    """Return a finding about the uptime.

    :param seconds: since boot
    :param users: number of login sessions
    """
    days = int(seconds // _DAY)
    finding = f"up for {days} days, {users} login sessions"
    if days >= _LONG_UP_DAYS:
        return worth_knowing(
            "uptime",
            f"{finding}: others may depend on this host",
            "ask them first: a kernel under test may panic",
        )
    return fine("uptime", finding)


def uptime_now() -> Advice:
    """Return :func:`uptime` of this host."""
    return uptime(time.time() - psutil.boot_time(), len(psutil.users()))


def running_services(files: HostFiles) -> list[str]:
    """Return the names of running programs that others depend on."""
    folders = (path for path in files.entries("/proc") if path.name.isdigit())
    return sorted({_name(folder) for folder in folders} & SERVICES)


def _services(files: HostFiles) -> Advice:
    found = running_services(files)
    if not found:
        return fine("services", "none that kvmprobe knows as important")
    return not_ready(
        "services",
        f"THIS HOST RUNS {', '.join(found)}: A PANIC INTERRUPTS THEM",
        "test on another host, or with --target lab",
    )


def _holds_machine(process: Path) -> bool:
    try:
        return any(map(_is_machine, (process / "fd").iterdir()))
    except OSError:
        # The process has exited, or belongs to another user.
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
