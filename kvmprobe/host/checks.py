"""Whether a run may start on this host: earlier kernel faults, other VMs and services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import Unavailable
from kvmprobe.host.doctor.shared_host import other_machines, running_services, shown
from kvmprobe.host.kernel_log import TAINTED
from kvmprobe.host.taint import described, taints

if TYPE_CHECKING:
    from kvmprobe.host.files import HostFiles


def spoiling_taint(files: HostFiles) -> str:
    """Return the taint and its meaning if it makes results unreliable; otherwise an empty text."""
    value = files.number(TAINTED) or 0
    return described(value) if any(taint.spoils for taint in taints(value)) else ""


def refuse_tainted(files: HostFiles) -> None:
    """Refuse to run on a kernel that has had a fault.

    :raises Unavailable: ``tainted``
    """
    if taint := spoiling_taint(files):
        raise Unavailable(
            "tainted",
            f"this kernel is tainted {taint}: failures may be a consequence of that; "
            "reboot, or run with --allow-tainted",
        )


def refuse_other_vms(files: HostFiles, own_pid: int) -> None:
    """Refuse to run on a host where other processes run VMs.

    :raises Unavailable: ``busy``
    """
    if machines := other_machines(files, own_pid):
        raise Unavailable(
            "busy",
            f"{len(machines)} other processes run VMs on this host: {shown(machines)}; "
            "a panic would kill them: stop or migrate them, or run with --shared",
        )


def notes(files: HostFiles, own_pid: int) -> list[str]:
    """Return notes for the report: a taint and other VMs that were accepted."""
    found = []
    if taint := spoiling_taint(files):
        found.append(f"this kernel was tainted before the run: {taint}")
    if machines := other_machines(files, own_pid):
        found.append(f"{len(machines)} other processes run VMs on this host: {shown(machines)}")
    return found


def service_warning(files: HostFiles) -> str:
    """Return a warning about services that a panic would interrupt; empty if there are none."""
    if found := running_services(files):
        return f"WARNING: A PANIC OF THIS HOST INTERRUPTS {', '.join(found)}"
    return ""
