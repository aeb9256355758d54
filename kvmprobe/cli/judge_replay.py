"""``kvmprobe judge --replay``: a recording's calls, issued on this host or on the emulated one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kvmprobe.cli.fit_host import check_host, notice
from kvmprobe.cli.places import is_emulated, place_of
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import RecordingError
from kvmprobe.execution.place import Risk
from kvmprobe.execution.reissuing import Reissuing
from kvmprobe.reports.vmm_files import Judgement
from kvmprobe.vmm.reissue import ReadBack, reissue
from kvmprobe.vmm.replayed import replayed, safe_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.vmm.replay import Replay

Recordings = dict["Path", tuple["HostProfile", list["Entry"]]]


def replays(recordings: Recordings, arguments: argparse.Namespace) -> Iterator[Judgement]:
    """Replay recordings on each kernel.

    :raises UsageError: the arguments contradict each other
    :raises RecordingError: a recording cannot be replayed
    :raises Unavailable: KVM is not usable, or the host is not fit
    :raises LabError: there is no emulated host
    """
    for kernel in arguments.kernel or [None]:
        chosen = argparse.Namespace(**{**vars(arguments), "kernel": kernel})
        if not is_emulated(chosen):
            for note in check_host(chosen):
                notice(note)
        with progress() as status, place_of(chosen, status) as place:
            reissuing = Reissuing(place, status)
            for path, (host, entries) in recordings.items():
                try:
                    replay = _replay(reissuing, place, chosen, host, entries)
                except RecordingError as error:
                    raise RecordingError(f"{path} cannot be replayed: {error}") from error
                yield Judgement(str(path), _name(place), replay)


def _name(place: Place) -> str:
    where = "the emulated host" if place.target.emulated else "this host"
    return f"{place.target.release}, replayed on {where}"


def _replay(
    reissuing: Reissuing,
    place: Place,
    arguments: argparse.Namespace,
    recorded: HostProfile,
    entries: Sequence[Entry],
) -> Replay:
    here, careful = reissuing.preflight.profile, place.risk is Risk.REAL and not arguments.hazardous
    safe, stopped = entries, None
    if careful:
        safe, stopped = safe_part(entries, here, reissuing.preflight.suspected)
    read_back = ReadBack.BEFORE_LOADS if careful and here.amx else ReadBack.NEVER
    made = reissue(safe, here, read_back)
    made.leave_out(entries[len(safe) :], "the replay stopped before")
    answers = reissuing.answers(made.calls, gate=int(careful))
    replay = replayed(made, answers.trace, answers.crash, recorded, here)
    if stopped is not None:
        replay.add([stopped])
    return replay
