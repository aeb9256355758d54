"""Whether a run on this host should begin at all: an earlier fault, others who would suffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import Unavailable
from kvmprobe.host.doctor.company import other_machines, running_services, shown
from kvmprobe.host.kernel_log import TAINTED
from kvmprobe.host.taint import SPOILING_LETTERS, letters, taints

if TYPE_CHECKING:
    from kvmprobe.host.files import HostFiles


def spoiling_taint(files: HostFiles) -> str:
    """Return the taint that makes results worthless, with its meaning; empty if there is none."""
    value = files.number(TAINTED) or 0
    spoiling = [taint for taint in taints(value) if taint.letter in SPOILING_LETTERS]
    told = "; ".join(f"{taint.letter}: {taint.meaning}" for taint in spoiling)
    return f"{letters(value)} ({told})" if spoiling else ""


def refuse_tainted(files: HostFiles) -> None:
    """Refuse a kernel that has had a fault.

    :raises Unavailable: ``tainted``
    """
    if told := spoiling_taint(files):
        raise Unavailable(
            "tainted",
            f"this kernel is tainted {told}: what is found may come of that; "
            "reboot, or run with --allow-tainted",
        )


def refuse_company(files: HostFiles, own_pid: int) -> None:
    """Refuse a host whose panic would take other VMs along.

    :raises Unavailable: ``busy``
    """
    if machines := other_machines(files, own_pid):
        raise Unavailable(
            "busy",
            f"{len(machines)} other processes run VMs on this host: {shown(machines)}; "
            "a panic would take them along: end or move them, or run with --shared",
        )


def notes(files: HostFiles, own_pid: int) -> list[str]:
    """Tell of a taint and of company that a run goes on with."""
    found = []
    if told := spoiling_taint(files):
        found.append(f"this kernel was tainted before the run: {told}")
    if machines := other_machines(files, own_pid):
        found.append(f"{len(machines)} other processes run VMs on this host: {shown(machines)}")
    return found


def service_warning(files: HostFiles) -> str:
    """Return a warning about services that a panic would interrupt; empty if there are none."""
    if found := running_services(files):
        return f"WARNING: A PANIC OF THIS HOST INTERRUPTS {', '.join(found)}"
    return ""
