"""What this kernel does on a panic, oops, warning, hang or lockup.

:see: Documentation/admin-guide/sysctl/kernel.rst; Documentation/admin-guide/sysrq.rst
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Advice, fine, not_ready, worth_knowing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.host.files import HostFiles

_KERNEL = "/proc/sys/kernel"
_SYSRQ_ALL, _SYSRQ_REBOOT = 1, 0x80
# Setting, its effect if 1, its effect if 0.
_ENDINGS = (
    ("panic_on_oops", "an oops panics", "the kernel continues after an oops"),
    ("hung_task_panic", "a hung task panics", "a hung task is only logged"),
    ("softlockup_panic", "a soft lockup panics", "a soft lockup is only logged"),
)


def panic_settings(files: HostFiles) -> Iterator[Advice]:
    """Yield findings about the sysctls that decide whether the host reboots after a failure."""
    yield _panic(files.number(f"{_KERNEL}/panic"))
    for name, ends, goes_on in _ENDINGS:
        value = files.number(f"{_KERNEL}/{name}")
        if value is None:
            yield worth_knowing(name, f"this kernel has no sysctl kernel.{name}")
        elif value:
            yield fine(name, f"{ends} (kernel.{name}={value})")
        else:
            remedy = f"run with --arm, or set kernel.{name}=1"
            yield worth_knowing(name, f"{goes_on} (kernel.{name}=0)", remedy)
    yield _panic_on_warn(files.number(f"{_KERNEL}/panic_on_warn"))
    yield _lockups(files)
    yield _sysrq(files.number(f"{_KERNEL}/sysrq"))


def _panic(seconds: int | None) -> Advice:
    if seconds is None:
        return worth_knowing("panic", "kernel.panic cannot be read")
    if seconds == 0:
        return not_ready(
            "panic",
            "the host does not reboot after a panic (kernel.panic=0)",
            "run with --arm, or set kernel.panic=10",
        )
    when = f"{seconds} s" if seconds > 0 else "immediately"
    return fine("panic", f"the host reboots {when} after a panic (kernel.panic={seconds})")


def _panic_on_warn(value: int | None) -> Advice:
    if value:
        return worth_knowing(
            "panic_on_warn",
            "the first kernel warning panics (kernel.panic_on_warn=1)",
            "set kernel.panic_on_warn=0: kvmprobe detects warnings without a panic",
        )
    return fine("panic_on_warn", "a kernel warning does not panic")


def _lockups(files: HostFiles) -> Advice:
    undetected = [
        kind
        for kind, name in (("soft", "soft_watchdog"), ("hard", "nmi_watchdog"))
        if not files.number(f"{_KERNEL}/{name}")
    ]
    if not undetected:
        return fine("lockup detection", "the kernel detects soft and hard lockups")
    return worth_knowing(
        "lockup detection",
        f"the kernel does not detect {' and '.join(undetected)} lockups",
        "set kernel.watchdog=1; detecting hard lockups needs a performance counter",
    )


def _sysrq(value: int | None) -> Advice:
    if value is None:
        return worth_knowing("sysrq", "this kernel has no magic SysRq")
    if value == _SYSRQ_ALL or value & _SYSRQ_REBOOT:
        return fine("sysrq", f"SysRq can reboot a hung host (kernel.sysrq={value})")
    return worth_knowing(
        "sysrq",
        f"SysRq cannot reboot a hung host (kernel.sysrq={value})",
        "set kernel.sysrq=1 if the host has a console",
    )
