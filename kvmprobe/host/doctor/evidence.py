"""What is left of a host that died: crash dump, pstore, network and serial console; who resets it.

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
    """Whether a way of keeping a panic's report works."""

    YES = "it does"
    PERHAPS = "that is not for this host to see"
    NO = "it does not"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of keeping a panic's report."""

    keeps: Keeps
    advice: Advice


def evidence(files: HostFiles) -> Iterator[Advice]:
    """Tell each way in which a panic's report can survive; not ready if there is none."""
    ways = (_kdump(files), _pstore(files), _netconsole(files), _serial(files))
    yield from (way.advice for way in ways)
    found = {way.keeps for way in ways}
    if Keeps.YES in found:
        return
    if Keeps.PERHAPS in found:
        told = "a panicking kernel's last words are kept only if somebody records them elsewhere"
        yield worth_knowing("crash report", told, "make sure of it")
        return
    told = "nothing keeps what a panicking kernel says"
    remedy = "have one of kdump, pstore, netconsole or a recorded serial console"
    yield not_ready("crash report", told, remedy)


def watchdog(files: HostFiles) -> Advice:
    """Tell whether hardware resets a host that hangs without a panic."""
    devices = [path for path in files.entries(WATCHDOGS) if path.name.startswith("watchdog")]
    if not devices:
        return worth_knowing(
            "watchdog",
            "there is no watchdog device: a host that hangs without a panic stays so",
            "load the board's driver or softdog, and have it fed (systemd: RuntimeWatchdogSec=)",
        )
    told = {path.name: _watchdog_state(path) for path in devices}
    shown = ", ".join(f"{name} {state or 'in unknown state'}" for name, state in told.items())
    if "active" in told.values():
        return fine("watchdog", shown)
    remedy = "have it fed (systemd: RuntimeWatchdogSec=)"
    return worth_knowing("watchdog", f"{shown}: nothing resets a hung host", remedy)


def _watchdog_state(device: Path) -> str:
    try:
        return (device / "state").read_text().strip()
    except OSError:
        return ""


def _kdump(files: HostFiles) -> Way:
    if files.number(CRASH_KERNEL):
        return Way(Keeps.YES, fine("kdump", "a crash kernel is loaded"))
    remedy = "install kdump-tools, or load one with kexec -p"
    return Way(Keeps.NO, worth_knowing("kdump", "no crash kernel is loaded", remedy))


def _pstore(files: HostFiles) -> Way:
    backend = files.text(PSTORE_BACKEND) or ""
    if backend in _NO_BACKEND:
        remedy = "reserve memory for ramoops, or load efi_pstore or erst"
        return Way(Keeps.NO, worth_knowing("pstore", "pstore has no backend", remedy))
    if not _is_mounted(files, "pstore"):
        told = f"backend {backend}; not mounted, so nothing can be read from it"
        remedy = f"mount -t pstore pstore {PSTORE}"
        return Way(Keeps.YES, worth_knowing("pstore", told, remedy))
    if records := files.entries(PSTORE):
        told = f"backend {backend}; {len(records)} records of earlier trouble take up its room"
        remedy = f"read and remove what is in {PSTORE}"
        return Way(Keeps.YES, worth_knowing("pstore", told, remedy))
    told = f"backend {backend}, empty; how much it holds the kernel does not tell"
    return Way(Keeps.YES, fine("pstore", told))


def _is_mounted(files: HostFiles, kind: str) -> bool:
    mounts = (line.split() for line in (files.text("/proc/mounts") or "").splitlines())
    return any(len(words) > 2 and words[2] == kind for words in mounts)


def _netconsole(files: HostFiles) -> Way:
    if not files.exists("/sys/module/netconsole"):
        remedy = "load netconsole with a target that records"
        return Way(Keeps.NO, worth_knowing("netconsole", "netconsole is not loaded", remedy))
    names = [path.name for path in files.entries(NETCONSOLE)]
    enabled = [name for name in names if files.text(f"{NETCONSOLE}/{name}/enabled") == "1"]
    if enabled:
        told = f"sends to {len(enabled)} targets: {', '.join(enabled)}"
        return Way(Keeps.PERHAPS, fine("netconsole", told))
    told = "loaded, without a target that can be seen to be enabled"
    return Way(Keeps.NO, worth_knowing("netconsole", told, f"see {NETCONSOLE}"))


def _serial(files: HostFiles) -> Way:
    active = (files.text(CONSOLES) or "").split()
    serial = [name for name in active if name.startswith(_SERIAL)]
    if not serial:
        remedy = "boot with console=ttyS0,115200 and record that line"
        return Way(Keeps.NO, worth_knowing("serial console", "the kernel has none", remedy))
    told = f"the kernel writes to {', '.join(serial)}"
    return Way(Keeps.PERHAPS, fine("serial console", told))
