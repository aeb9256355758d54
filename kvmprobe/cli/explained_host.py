"""The host that ``kvmprobe explain`` is about: a Sapphire Rapids, or the one of a kept run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import UsageError
from kvmprobe.model.behaviours import DEFECTS, Behaviour, Kind, variants
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.results.known import known_defects

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Target
    from kvmprobe.results.run_document import RunDocument

VARIANTS = tuple(b.name for b in Behaviour if b.kind is Kind.VARIANT)
_ASSUMED = "a Sapphire Rapids, assumed; --kernel names another"


@dataclass(frozen=True, slots=True)
class ExplainedHost:
    """A host profile, and the lines that say which one it is."""

    profile: HostProfile
    lines: tuple[str, ...]


def add_host(command: argparse.ArgumentParser) -> None:
    """Declare the options that choose the host."""
    command.add_argument(
        "--kernel",
        metavar="RUN|KERNEL",
        help="host and kernel as a kept run found them: its directory, the FILE of `run --json`, "
        "or a kernel that `kvmprobe runs` lists, such as 7.3.4; the newest run "
        "on the default host counts "
        "(default: a Sapphire Rapids, and a kernel without variants)",
    )
    command.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME",
        help="a kernel with this variant, as `kvmprobe probe` names it",
    )
    command.add_argument(
        "--defect",
        action="append",
        default=[],
        metavar="ID",
        help="a kernel with this known defect (B1, O1, ...) instead of a correct one",
    )


def explained_host(arguments: argparse.Namespace) -> ExplainedHost:
    """Return the host that the options choose.

    :raises UsageError: an unknown variant or defect, or no such run
    """
    given = frozenset(
        [
            *map(_variant, arguments.variant),
            *map(defect_named, arguments.defect),
        ]
    )
    profile, name, left_out = sapphire_rapids(), _ASSUMED, frozenset[Behaviour]()
    if arguments.kernel:
        profile, name = host_of_run(arguments.kernel)
        left_out = (profile.behaviours & DEFECTS) - given
    behaviours = variants(profile.behaviours) | given
    lines = [
        f"host: {name}",
        f"variants: {_names(variants(behaviours))}",
        f"defects: {_ids(behaviours & DEFECTS)}",
    ]
    if left_out:
        lines[-1] += f"; this kernel has {_ids(left_out)}: --defect adds one"
    return ExplainedHost(replace(profile, behaviours=behaviours), tuple(lines))


def _names(behaviours: Behaviours) -> str:
    return ", ".join(sorted(behaviour.name for behaviour in behaviours)) or "none"


def _ids(behaviours: Behaviours) -> str:
    return ", ".join(d.id for b, d in known_defects().items() if b in behaviours) or "none"


def _variant(name: str) -> Behaviour:
    if name not in VARIANTS:
        raise UsageError(f"--variant {name}: unknown variant; valid: {', '.join(VARIANTS)}")
    return Behaviour[name]


def defect_named(defect_id: str) -> Behaviour:
    """Return the behaviour of a known defect.

    :raises UsageError: there is no such defect
    """
    by_id = {defect.id: behaviour for behaviour, defect in known_defects().items()}
    if defect_id not in by_id:
        raise UsageError(f"--defect {defect_id}: unknown defect; valid: {', '.join(sorted(by_id))}")
    return by_id[defect_id]


def host_of_run(text: str) -> tuple[HostProfile, str]:
    """Return the profile of a run's host, and its name.

    :param text: the run's path, or a kernel that a kept run was on
    :raises UsageError: there is no such run, or it has no facts about its host
    """
    # Not needed for the assumed host; they import what drives a kernel.
    from kvmprobe.execution.preflight import profile_of  # noqa: PLC0415
    from kvmprobe.results.run_document import read_run  # noqa: PLC0415

    path = Path(text) if Path(text).exists() else _newest_run_on(text)
    target, facts = _environment(read_run(path), path, text)
    try:
        found = frozenset(Behaviour[name] for name in facts["behaviours"]["found"])
        profile = replace(profile_of(dict(facts)), behaviours=found)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: its facts about {target.kernel}: {error!r}") from error
    return profile, f"{target.release} ({target.kind}), as found by {path}"


def _newest_run_on(kernel: str) -> Path:
    from kvmprobe.results.index import Index  # noqa: PLC0415
    from kvmprobe.results.run_directory import runs_folder  # noqa: PLC0415

    with Index(runs_folder()) as index:
        index.refresh()
        found = [row for row in index.runs() if (row.kernel, row.variant) == (kernel, "")]
    if not found:
        raise UsageError(
            f"--kernel {kernel}: neither a run nor a kernel that a kept run was on; "
            f"`kvmprobe run --kernel {kernel} --select 'sregs.*'` makes one"
        )
    return Path(found[-1].path)


def _environment(run: RunDocument, path: Path, text: str) -> tuple[Target, Mapping[str, Any]]:
    """Return the facts about the target that is meant: the kernel's, or the only one."""
    known = {t: facts for t, facts in run.environments.items() if "behaviours" in facts}
    named = {t: facts for t, facts in known.items() if t.kernel == text} or known
    if not named:
        raise UsageError(f"{path}: has no facts about its host; give the run's directory")
    if len(named) > 1:
        kernels = ", ".join(sorted(target.kernel for target in named))
        raise UsageError(f"{path}: has several hosts: {kernels}; name one by its kernel")
    return next(iter(named.items()))
