"""The kernels that ``kvmprobe judge`` judges a recording for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.cli.explained_host import defect_named, host_of_run
from kvmprobe.errors import KvmprobeError, UsageError
from kvmprobe.execution.preflight import Preflight
from kvmprobe.model.behaviours import variants
from kvmprobe.model.lesser_cpu import on_lesser_cpu
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.results.known import known_defects
from kvmprobe.results.releases import release_of
from kvmprobe.vmm.review import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile


@dataclass(frozen=True, slots=True)
class JudgedHost:
    """A kernel on a host.

    :ivar name: which one, in words
    """

    name: str
    profile: HostProfile
    kernel: Kernel


def judged_hosts(
    recorded: Mapping[str, Any] | None,
    release: str,
    kernels: Sequence[str],
    defects: Sequence[str],
    cpu: str | None = None,
) -> Iterator[JudgedHost]:
    """Yield the kernels to judge: the recorded one unless others are named.

    :param recorded: facts of the recorded host, if the recording has them
    :param release: of the recorded kernel
    :param kernels: directories of runs, or releases, whose known defects are those of their number
    :param defects: ids of known defects that each has as well
    :param cpu: what the processor of each lacks: one of ``lesser_cpu.NAMES``
    :raises UsageError: an unknown defect, neither a run nor a release, or facts that are not such
    """
    added = frozenset(map(defect_named, defects))
    profile, name = recorded_host(recorded, release)
    for host in _hosts(profile, name, kernels):
        kernel = Kernel.OTHER if added or cpu else host.kernel
        found, described = _with(host.profile, added), host.name
        if cpu:
            found, described = on_lesser_cpu(found, cpu), f"{described}, processor {cpu}"
        yield JudgedHost(described, found, kernel)


def _hosts(profile: HostProfile, name: str, kernels: Sequence[str]) -> Iterator[JudgedHost]:
    if not kernels:
        yield JudgedHost(name, profile, Kernel.RECORDED)
    for text in kernels:
        if Path(text).exists():
            found, described = host_of_run(text)
            yield JudgedHost(described, found, Kernel.OTHER)
        elif release_of(text):
            behaviours = variants(profile.behaviours) | _defects_of(text)
            other = replace(profile, behaviours=behaviours)
            yield JudgedHost(f"{text}, with the recorded host's processor", other, Kernel.OTHER)
        else:
            raise UsageError(
                f"--kernel {text}: neither a run's directory nor a release such as 6.12.95"
            )


def recorded_host(recorded: Mapping[str, Any] | None, release: str) -> tuple[HostProfile, str]:
    """Return the host of a recording, a Sapphire Rapids if it has no facts, and its name.

    :raises UsageError: the facts are not such
    """
    if recorded is None:
        assumed = replace(sapphire_rapids(), behaviours=_defects_of(release))
        return assumed, f"{release}, as recorded; a Sapphire Rapids is assumed"
    try:
        return Preflight.of_recorded(dict(recorded)).profile, f"{release}, as recorded"
    except (KvmprobeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the recorded facts of the host are not such: {error!r}") from error


def _defects_of(release: str) -> Behaviours:
    known = known_defects().items()
    return frozenset(behaviour for behaviour, d in known if not d.is_fixed_in(release))


def _with(profile: HostProfile, behaviours: Behaviours) -> HostProfile:
    return replace(profile, behaviours=profile.behaviours | behaviours)
