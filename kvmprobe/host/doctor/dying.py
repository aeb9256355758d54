"""What this kernel does when it is in trouble: panic, oops, warning, hang.

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
# Setting, what it does where it is 1, what happens where it is 0.
_ENDINGS = (
    ("panic_on_oops", "an oops ends the host", "after an oops the host goes on, damaged"),
    ("hung_task_panic", "a hung task ends the host", "a hung task only gets a message"),
    ("softlockup_panic", "a soft lockup ends the host", "a soft lockup only gets a message"),
)


def after_trouble(files: HostFiles) -> Iterator[Advice]:
    """Tell the settings that decide whether a host in trouble comes back."""
    yield _panic(files.number(f"{_KERNEL}/panic"))
    for name, ends, goes_on in _ENDINGS:
        value = files.number(f"{_KERNEL}/{name}")
        if value is None:
            yield worth_knowing(name, f"this kernel has no setting kernel.{name}")
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
            "a panicked host stays as it is until somebody resets it (kernel.panic=0)",
            "run with --arm, or set kernel.panic=10",
        )
    when = f"after {seconds} s" if seconds > 0 else "at once"
    return fine("panic", f"a panicked host reboots {when} (kernel.panic={seconds})")


def _panic_on_warn(value: int | None) -> Advice:
    if value:
        return worth_knowing(
            "panic_on_warn",
            "the first kernel warning ends the host (kernel.panic_on_warn=1)",
            "kvmprobe sees warnings without it; set kernel.panic_on_warn=0 to let a run go on",
        )
    return fine("panic_on_warn", "a kernel warning does not end the host")


def _lockups(files: HostFiles) -> Advice:
    blind = [
        kind
        for kind, name in (("soft", "soft_watchdog"), ("hard", "nmi_watchdog"))
        if not files.number(f"{_KERNEL}/{name}")
    ]
    if not blind:
        return fine("lockup detection", "the kernel notices soft and hard lockups")
    return worth_knowing(
        "lockup detection",
        f"the kernel does not notice {' and '.join(blind)} lockups",
        "set kernel.watchdog=1; hard lockups need a performance counter",
    )


def _sysrq(value: int | None) -> Advice:
    if value is None:
        return worth_knowing("sysrq", "this kernel has no magic SysRq")
    if value == _SYSRQ_ALL or value & _SYSRQ_REBOOT:
        return fine("sysrq", f"a hung host can be rebooted from its console (kernel.sysrq={value})")
    return worth_knowing(
        "sysrq",
        f"a hung host cannot be rebooted from its console (kernel.sysrq={value})",
        "set kernel.sysrq=1 if you have a console there",
    )
