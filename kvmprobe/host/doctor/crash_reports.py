"""What keeps the report of a panic: kdump, pstore, netconsole, serial console; the watchdog.

:see: Documentation/admin-guide/kdump/kdump.rst; Documentation/ABI/testing/pstore;
    Documentation/networking/netconsole.rst; Documentation/ABI/testing/sysfs-class-watchdog
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Advice, fine, not_ready, worth_knowing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmprobe.host.files import HostFiles

CRASH_KERNEL = "/sys/kernel/kexec_crash_loaded"
PSTORE, PSTORE_BACKEND = "/sys/fs/pstore", "/sys/module/pstore/parameters/backend"
NETCONSOLE = "/sys/kernel/config/netconsole"
CONSOLES = "/sys/class/tty/console/active"
WATCHDOGS = "/sys/class/watchdog"
_SERIAL = ("ttyS", "ttyAMA", "ttyUSB", "hvc")
_NO_BACKEND = ("", "(null)", "N")


class Keeps(Enum):
    """Whether a method keeps the report of a panic."""

    YES = "yes"
    UNKNOWN = "depends on the receiver"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Method:
    """A method of keeping the report of a panic."""

    keeps: Keeps
    advice: Advice


def crash_reports(files: HostFiles) -> Iterator[Advice]:
    """Yield a finding for each method; the host is not ready if none keeps a panic report."""
    methods = (_kdump(files), _pstore(files), _netconsole(files), _serial(files))
    yield from (method.advice for method in methods)
    found = {method.keeps for method in methods}
    if Keeps.YES in found:
        return
    if Keeps.UNKNOWN in found:
        yield worth_knowing(
            "crash report",
            "a panic report is kept only if another machine records this host's console",
            "check that it does",
        )
        return
    yield not_ready(
        "crash report",
        "nothing keeps the report of a panic",
        "set up kdump, pstore, netconsole or a recorded serial console",
    )


def watchdog(files: HostFiles) -> Advice:
    """Return a finding about the hardware watchdog, which resets a host that hangs."""
    devices = [path for path in files.entries(WATCHDOGS) if path.name.startswith("watchdog")]
    if not devices:
        return worth_knowing(
            "watchdog",
            "no watchdog device: nothing resets a host that hangs without a panic",
            "load its driver or softdog, and enable it (systemd: RuntimeWatchdogSec=)",
        )
    states = {path.name: _watchdog_state(path) for path in devices}
    shown = ", ".join(f"{name} {state or 'in unknown state'}" for name, state in states.items())
    if "active" in states.values():
        return fine("watchdog", shown)
    remedy = "enable it (systemd: RuntimeWatchdogSec=)"
    return worth_knowing("watchdog", f"{shown}: nothing resets a hung host", remedy)


def _watchdog_state(device: Path) -> str:
    try:
        return (device / "state").read_text().strip()
    except OSError:
        return ""


def _kdump(files: HostFiles) -> Method:
    if files.number(CRASH_KERNEL):
        return Method(Keeps.YES, fine("kdump", "a crash kernel is loaded"))
    remedy = "install kdump-tools, or load one with kexec -p"
    return Method(Keeps.NO, worth_knowing("kdump", "no crash kernel is loaded", remedy))


def _pstore(files: HostFiles) -> Method:
    backend = files.text(PSTORE_BACKEND) or ""
    if backend in _NO_BACKEND:
        remedy = "reserve memory for ramoops, or load efi_pstore or erst"
        return Method(Keeps.NO, worth_knowing("pstore", "pstore has no backend", remedy))
    if not _is_mounted(files, "pstore"):
        finding = f"backend {backend}, not mounted: its records cannot be read"
        remedy = f"mount -t pstore pstore {PSTORE}"
        return Method(Keeps.YES, worth_knowing("pstore", finding, remedy))
    if records := files.entries(PSTORE):
        finding = f"backend {backend}; {len(records)} older records use up its space"
        remedy = f"read and remove the files in {PSTORE}"
        return Method(Keeps.YES, worth_knowing("pstore", finding, remedy))
    return Method(Keeps.YES, fine("pstore", f"backend {backend}, no records (size unknown)"))


def _is_mounted(files: HostFiles, kind: str) -> bool:
    mounts = (line.split() for line in (files.text("/proc/mounts") or "").splitlines())
    return any(len(words) > 2 and words[2] == kind for words in mounts)


def _netconsole(files: HostFiles) -> Method:
    if not files.exists("/sys/module/netconsole"):
        remedy = "load netconsole with a target that records its messages"
        return Method(Keeps.NO, worth_knowing("netconsole", "netconsole is not loaded", remedy))
    names = [path.name for path in files.entries(NETCONSOLE)]
    enabled = [name for name in names if files.text(f"{NETCONSOLE}/{name}/enabled") == "1"]
    if enabled:
        finding = f"sends to {len(enabled)} targets: {', '.join(enabled)}"
        return Method(Keeps.UNKNOWN, fine("netconsole", finding))
    finding = f"loaded, but no target is enabled in {NETCONSOLE}"
    return Method(Keeps.NO, worth_knowing("netconsole", finding, "enable a target"))


def _serial(files: HostFiles) -> Method:
    active = (files.text(CONSOLES) or "").split()
    serial = [name for name in active if name.startswith(_SERIAL)]
    if not serial:
        remedy = "boot with console=ttyS0,115200 and record that port"
        return Method(Keeps.NO, worth_knowing("serial console", "the kernel uses none", remedy))
    finding = f"the kernel writes to {', '.join(serial)}"
    return Method(Keeps.UNKNOWN, fine("serial console", finding))
