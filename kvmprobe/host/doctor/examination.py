"""The doctor's whole examination of this host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Advice, worth_knowing
from kvmprobe.host.doctor.company import company, uptime_now
from kvmprobe.host.doctor.dying import after_trouble
from kvmprobe.host.doctor.errata import errata
from kvmprobe.host.doctor.evidence import evidence, watchdog
from kvmprobe.host.doctor.room import room
from kvmprobe.host.doctor.trust import layers_below, observation

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
    """Return everything, in the order in which it is told.

    :param facts: the worker's, of this host
    :param folders: where a run writes, by what for; or why there is no such place
    :param left: settings that an earlier run changed and has not restored
    """
    return (
        *after_trouble(files),
        *evidence(files),
        watchdog(files),
        *observation(files, os.geteuid()),
        *layers_below(facts),
        *errata(facts),
        *company(files),
        uptime_now(),
        *_leftovers(left),
        *room(folders),
    )


def _leftovers(left: Armed | None) -> Iterator[Advice]:
    if left is not None:
        yield worth_knowing(
            "armed settings",
            f"changed by kvmprobe, process {left.pid}, and not restored: "
            + ", ".join(map(str, left.changes)),
            "kvmprobe probe --disarm, or the next run, restores them",
        )
