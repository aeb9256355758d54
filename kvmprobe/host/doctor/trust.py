"""Whether what is found here can be seen and believed: taint, warnings, log, layers below."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Advice, fine, not_ready, worth_knowing
from kvmprobe.host.doctor.once_warnings import CLEAR, OnceWarnings, once_warnings
from kvmprobe.host.environment import LOCKDOWN, lockdown
from kvmprobe.host.kernel_log import KMSG, TAINTED
from kvmprobe.host.taint import Weight, letters, taints, weight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from kvmprobe.host.files import HostFiles

_ROOT_ONLY = "the kernel log, other users' VMs, debugfs and --arm"


def observation(files: HostFiles, euid: int) -> Iterator[Advice]:
    """Tell what of this kernel's misbehaviour would be seen, and believed."""
    yield _taint(files)
    yield _once(files)
    yield _kernel_log(files)
    yield _lockdown(files)
    if euid == 0:
        yield fine("privilege", "root")
    else:
        told = f"not root: {_ROOT_ONLY} may be out of reach; reports say what was not watched"
        yield worth_knowing("privilege", told, "run as root if that matters")


def layers_below(facts: Mapping[str, Any]) -> Iterator[Advice]:
    """Tell what lies below this kernel: hypervisor, microcode.

    :param facts: the worker's, of this host
    """
    environment = facts["environment"]
    hypervisor = environment["machine"]["hypervisor"]
    if hypervisor["bit"]:
        vendor = hypervisor["vendor"] or "one that does not tell its name"
        yield worth_knowing(
            "nesting",
            f"this host is a VM itself, under {vendor}: a finding may be the outer hypervisor's",
            "confirm findings on bare metal",
        )
    else:
        yield fine("nesting", "no hypervisor below this kernel")
    yield _microcode(environment["cpu"], hypervisor["bit"])


def _taint(files: HostFiles) -> Advice:
    value = files.number(TAINTED)
    if value is None:
        return worth_knowing("taint", "cannot be read: new warnings may go unnoticed")
    if not value:
        return fine("taint", "none")
    told = "; ".join(f"{taint.letter}: {taint.meaning}" for taint in taints(value))
    said = f"{letters(value)} ({told})"
    if any(weight(taint) is Weight.SPOILS for taint in taints(value)):
        return not_ready("taint", said, "reboot; `run` refuses without --allow-tainted")
    remedy = "kernel developers pay less heed to reports from such a kernel"
    return worth_knowing("taint", said, remedy)


def _once(files: HostFiles) -> Advice:
    match once_warnings(files):
        case OnceWarnings.UNUSED:
            return fine("once-warnings", "none has fired since boot")
        case OnceWarnings.CLEARABLE:
            return worth_knowing(
                "once-warnings",
                "some have fired since boot; they show again once they are cleared",
                f"nothing: `run --allow-tainted` clears them ({CLEAR})",
            )
        case OnceWarnings.CONSUMED:
            return worth_knowing(
                "once-warnings",
                "some have fired since boot and would not show again",
                f"reboot, or mount debugfs and run as root ({CLEAR})",
            )


def _kernel_log(files: HostFiles) -> Advice:
    try:
        os.close(os.open(files.path(KMSG), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return worth_knowing(
            "kernel log",
            f"{KMSG} cannot be read ({error.strerror}): of warnings only the taint is seen",
            "run as root, or with CAP_SYSLOG",
        )
    return fine("kernel log", "readable")


def _lockdown(files: HostFiles) -> Advice:
    mode = lockdown(files)
    if mode is None:
        return fine("lockdown", f"none that can be seen ({LOCKDOWN}: {files.absent[LOCKDOWN]})")
    if mode == "none":
        return fine("lockdown", "none")
    told = f"{mode}: debugfs and kexec may be out of reach even for root"
    return worth_knowing("lockdown", told)


def _microcode(cpu: Mapping[str, Any], virtual: int) -> Advice:
    revisions = ", ".join(cpu["microcode"]) or "not told"
    stale = [
        f"{name}: {state}"
        for name, state in cpu["vulnerabilities"].items()
        if (name == "old_microcode" and state.startswith("Vulnerable"))
        or "no microcode" in state.lower()
    ]
    if len(cpu["microcode"]) > 1:
        told = f"the CPUs have different revisions: {revisions}"
        return worth_knowing("microcode", told, "update the microcode, and reboot")
    if stale:
        told = f"{revisions}; the kernel misses newer microcode ({'; '.join(stale)})"
        return worth_knowing("microcode", told, "update the microcode, and reboot")
    if virtual:
        told = f"{revisions}, as the hypervisor tells; not the silicon's"
        return worth_knowing("microcode", told)
    return fine("microcode", revisions)
