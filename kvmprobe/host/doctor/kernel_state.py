"""Whether failures can be seen and trusted: taint, warnings, kernel log, hypervisor, microcode."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Advice, fine, not_ready, worth_knowing
from kvmprobe.host.doctor.once_warnings import CLEAR, OnceWarnings, once_warnings
from kvmprobe.host.environment import LOCKDOWN, lockdown
from kvmprobe.host.kernel_log import KMSG, TAINTED
from kvmprobe.host.taint import described, taints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from kvmprobe.host.files import HostFiles

_ROOT_ONLY = "the kernel log, other users' VMs, debugfs and --arm"


def kernel_state(files: HostFiles, euid: int) -> Iterator[Advice]:
    """Yield findings about what kvmprobe can observe of this kernel, and whether to trust it."""
    yield _taint(files)
    yield _once(files)
    yield _kernel_log(files)
    yield _lockdown(files)
    if euid == 0:
        yield fine("privilege", "root")
    else:
        finding = f"not root: {_ROOT_ONLY} may not be accessible"
        yield worth_knowing("privilege", finding, "run as root to have them")


def hypervisor_and_microcode(facts: Mapping[str, Any]) -> Iterator[Advice]:
    """Yield findings about what this kernel runs on.

    :param facts: what the worker reports of this host
    """
    environment = facts["environment"]
    hypervisor = environment["machine"]["hypervisor"]
    if hypervisor["bit"]:
        vendor = hypervisor["vendor"] or "an unknown hypervisor"
        yield worth_knowing(
            "nesting",
            f"this host is a VM under {vendor}: a failure may be the outer hypervisor's",
            "reproduce failures on bare metal",
        )
    else:
        yield fine("nesting", "this host is not a VM")
    yield _microcode(environment["cpu"], hypervisor["bit"])


def _taint(files: HostFiles) -> Advice:
    value = files.number(TAINTED)
    if value is None:
        return worth_knowing("taint", "cannot be read: warnings during a run may be missed")
    if not value:
        return fine("taint", "none")
    finding = described(value)
    if any(taint.spoils for taint in taints(value)):
        return not_ready("taint", finding, "reboot; `run` needs --allow-tainted until then")
    remedy = "kernel developers give less weight to reports from a tainted kernel"
    return worth_knowing("taint", finding, remedy)


def _once(files: HostFiles) -> Advice:
    match once_warnings(files):
        case OnceWarnings.UNUSED:
            return fine("once-warnings", "none has fired since boot")
        case OnceWarnings.CLEARABLE:
            return worth_knowing(
                "once-warnings",
                "some may have fired since boot; they can be reset",
                f"none needed: `run --allow-tainted` resets them ({CLEAR})",
            )
        case OnceWarnings.CONSUMED:
            return worth_knowing(
                "once-warnings",
                "some may have fired since boot; a run would not see them again",
                f"reboot, or mount debugfs and run as root ({CLEAR})",
            )


def _kernel_log(files: HostFiles) -> Advice:
    try:
        os.close(os.open(files.path(KMSG), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return worth_knowing(
            "kernel log",
            f"{KMSG} cannot be read ({error.strerror}): only the taint shows a warning",
            "run as root, or with CAP_SYSLOG",
        )
    return fine("kernel log", "readable")


def _lockdown(files: HostFiles) -> Advice:
    mode = lockdown(files)
    if mode is None:
        return fine("lockdown", f"unknown ({LOCKDOWN}: {files.absent[LOCKDOWN]})")
    if mode == "none":
        return fine("lockdown", "none")
    return worth_knowing("lockdown", f"{mode}: debugfs and kexec may be refused even for root")


def _microcode(cpu: Mapping[str, Any], virtual: int) -> Advice:
    revisions = ", ".join(cpu["microcode"]) or "unknown revision"
    stale = [
        f"{name}: {state}"
        for name, state in cpu["vulnerabilities"].items()
        if (name == "old_microcode" and state.startswith("Vulnerable"))
        or "no microcode" in state.lower()
    ]
    if len(cpu["microcode"]) > 1:
        finding = f"the CPUs have different revisions: {revisions}"
        return worth_knowing("microcode", finding, "update the microcode, and reboot")
    if stale:
        finding = f"{revisions}; too old for the kernel's mitigations ({'; '.join(stale)})"
        return worth_knowing("microcode", finding, "update the microcode, and reboot")
    if virtual:
        finding = f"{revisions}, reported by the hypervisor, not by the processor"
        return worth_knowing("microcode", finding)
    return fine("microcode", revisions)
