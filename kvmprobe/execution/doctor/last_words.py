"""What is left of a host that died: crash dump, pstore, network and serial console; who resets it.

:see: Documentation/admin-guide/kdump/kdump.rst; Documentation/ABI/testing/pstore;
    Documentation/networking/netconsole.rst; Documentation/ABI/testing/sysfs-class-watchdog
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.execution.doctor.advice import Advice, Readiness, fine, not_ready, worth_knowing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmprobe.execution.host_files import HostFiles

CRASH_KERNEL = "/sys/kernel/kexec_crash_loaded"
PSTORE, PSTORE_BACKEND = "/sys/fs/pstore", "/sys/module/pstore/parameters/backend"
NETCONSOLE = "/sys/kernel/config/netconsole"
CONSOLES = "/sys/class/tty/console/active"
WATCHDOGS = "/sys/class/watchdog"
_NO_BACKEND = ("", "(null)", "N")


def evidence(files: HostFiles) -> Iterator[Advice]:
    """Tell each way in which a panic's report can survive; not ready if there is none."""
    ways = (_kdump(files), _pstore(files), _netconsole(files), _serial(files))
    yield from ways
    if not any(way.readiness is Readiness.FINE for way in ways):
        yield not_ready(
            "crash report",
            "nothing here is sure to keep what a panicking kernel says",
            "have one of kdump, pstore, netconsole or a recorded serial console",
        )


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


def _kdump(files: HostFiles) -> Advice:
    if files.number(CRASH_KERNEL):
        return fine("kdump", "a crash kernel is loaded")
    remedy = "install kdump-tools, or load one with kexec -p"
    return worth_knowing("kdump", "no crash kernel is loaded", remedy)


def _pstore(files: HostFiles) -> Advice:
    backend = files.text(PSTORE_BACKEND) or ""
    if backend in _NO_BACKEND:
        return worth_knowing(
            "pstore",
            "pstore has no backend",
            "reserve memory for ramoops, or load efi_pstore or erst",
        )
    if not _is_mounted(files, "pstore"):
        return worth_knowing(
            "pstore",
            f"backend {backend}; not mounted, so nothing can be read from it",
            f"mount -t pstore pstore {PSTORE}",
        )
    records = files.entries(PSTORE)
    if records:
        return worth_knowing(
            "pstore",
            f"backend {backend}; {len(records)} records of earlier trouble take up its room",
            f"read and remove what is in {PSTORE}",
        )
    return fine("pstore", f"backend {backend}, empty; the kernel does not tell its size")


def _is_mounted(files: HostFiles, kind: str) -> bool:
    mounts = (line.split() for line in (files.text("/proc/mounts") or "").splitlines())
    return any(len(words) > 2 and words[2] == kind for words in mounts)


def _netconsole(files: HostFiles) -> Advice:
    if not files.exists("/sys/module/netconsole"):
        remedy = "load netconsole with a target that records"
        return worth_knowing("netconsole", "netconsole is not loaded", remedy)
    names = [path.name for path in files.entries(NETCONSOLE)]
    enabled = [name for name in names if files.text(f"{NETCONSOLE}/{name}/enabled") == "1"]
    if enabled:
        return fine("netconsole", f"sends to {len(enabled)} targets: {', '.join(enabled)}")
    return worth_knowing(
        "netconsole", "loaded, without a target that can be seen to be enabled", f"see {NETCONSOLE}"
    )


def _serial(files: HostFiles) -> Advice:
    active = (files.text(CONSOLES) or "").split()
    serial = [name for name in active if name.startswith(("ttyS", "hvc", "ttyAMA", "ttyUSB"))]
    if not serial:
        remedy = "boot with console=ttyS0,115200 and record that line"
        return worth_knowing("serial console", "the kernel has none", remedy)
    return worth_knowing(
        "serial console",
        f"the kernel writes to {', '.join(serial)}; whether somebody records it cannot be seen",
        "record it, with a time stamp a line",
    )
