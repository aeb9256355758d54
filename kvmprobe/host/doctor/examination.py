"""Every check of this host that `kvmprobe probe` makes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Advice, worth_knowing
from kvmprobe.host.doctor.crash_reports import crash_reports, watchdog
from kvmprobe.host.doctor.errata import errata
from kvmprobe.host.doctor.free_space import free_space
from kvmprobe.host.doctor.kernel_state import hypervisor_and_microcode, kernel_state
from kvmprobe.host.doctor.panic_settings import panic_settings
from kvmprobe.host.doctor.shared_host import shared_host, uptime_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from kvmprobe.errors import UsageError
    from kvmprobe.host.arming import Armed
    from kvmprobe.host.files import HostFiles


def examine_host(
    facts: Mapping[str, Any],
    files: HostFiles,
    folders: Mapping[str, Path | UsageError],
    left: Armed | None,
) -> tuple[Advice, ...]:
    """Return all findings, in the order of the report.

    :param facts: what the worker reports of this host
    :param folders: where a run writes, by purpose; or the error that says why there is no folder
    :param left: sysctls that an earlier run changed and did not restore
    """
    return (
        *panic_settings(files),
        *crash_reports(files),
        watchdog(files),
        *kernel_state(files, os.geteuid()),
        *hypervisor_and_microcode(facts),
        *errata(facts),
        *shared_host(files),
        uptime_now(),
        *_leftovers(left),
        *free_space(folders),
    )


def _leftovers(left: Armed | None) -> Iterator[Advice]:
    if left is not None:
        yield worth_knowing(
            "armed settings",
            f"changed by kvmprobe (pid {left.pid}) and not restored: "
            + ", ".join(map(str, left.changes)),
            "`kvmprobe probe --disarm` or the next run restores them",
        )
