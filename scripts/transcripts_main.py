"""Record the answers of kernels in ``tests/transcripts``, and print what changed.

KERNEL is a SPEC as of ``kvmprobe run --kernel``, or ``host`` for the running kernel; what follows
a plus is a parameter of the emulated host's kernel, as in ``7.3.4+noxsaves``.  A transcript of
package files is called by the version in the first one's name.  All scenarios are recorded except
the third axis of the restore matrix; with ``--new`` only those that the transcript lacks or has
with other calls.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.scenario import read
from kvmprobe.cli.terminal import progress
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.recording import disagreements, record
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.cpu_profile import PROFILES
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.results.host_variant import DEFAULT_HOST, HostVariant
from kvmprobe.results.transcript import Transcript
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.literal_fields import Bytes
from kvmprobe.scenarios.op_fields import kinds
from kvmprobe.scenarios.relations import derive
from kvmprobe.search.random_scenarios import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.results.transcript import Entry
    from kvmprobe.scenarios.scenario import Scenario

FOLDER = Path(__file__).parent.parent / "tests" / "transcripts"
HOST = "host"
DEFAULT = ("6.1.192", "6.12.43", "6.12.95", "6.17.8", "7.3.4", HOST)
_LEFT_OUT = ".xcr0-"
_SHOWN = 20
_SEED = 0


def main() -> None:
    """Record each kernel."""
    parser = argparse.ArgumentParser(prog="record_transcripts", description=__doc__)
    parser.add_argument("kernel", nargs="*", default=DEFAULT, help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument(
        "--new", action="store_true", help="keep the entries whose calls are unchanged"
    )
    parser.add_argument(
        "--documents",
        action="store_true",
        help="record the documents in tests/transcripts/documents as KERNEL-documents",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="GLOB",
        help="only documents whose names match; can be repeated",
    )
    parser.add_argument(
        "--cpu",
        choices=PROFILES,
        help="record the documents on this processor as KERNEL-CPU-documents",
    )
    parser.add_argument(
        "--derived",
        metavar="SUFFIX",
        help="record what a relation makes of the documents, as KERNEL-SUFFIX-documents: "
        "host-live-pkru-0",
    )
    parser.add_argument(
        "--random",
        type=int,
        metavar="COUNT",
        help="record this many random scenarios without a hazard as KERNEL-random",
    )
    arguments = parser.parse_args()
    if arguments.random:
        for spec in arguments.kernel:
            _record_listed(spec, f"{spec}-random", partial(_random, arguments.random))
        return
    if arguments.documents or arguments.cpu or arguments.derived:
        documents = partial(_documents, arguments.only or ["*"], arguments.derived)
        variant = HostVariant(cpu=arguments.cpu) if arguments.cpu else DEFAULT_HOST
        for spec in arguments.kernel:
            parts = (_called(spec), arguments.cpu, arguments.derived, "documents")
            _record_listed(spec, "-".join(filter(None, parts)), documents, variant)
        return
    for spec in arguments.kernel:
        path = FOLDER / f"{spec}.xz"
        old = Transcript.from_bytes(path.read_bytes()) if path.exists() else None
        known = {entry.scenario: entry for entry in old.entries} if old and arguments.new else {}
        asked: list[Scenario] = []
        with progress() as status:
            found = record(_place(spec, status), partial(_wanted, known, asked), status)
        known |= {entry.scenario: entry for entry in found.entries}
        entries = tuple(known[scenario] for scenario in asked if scenario in known)
        _keep(path, replace(found, entries=entries), old)


def _record_listed(
    spec: str,
    name: str,
    scenarios: Callable[[HostProfile], Iterable[Scenario]],
    variant: HostVariant = DEFAULT_HOST,
) -> None:
    path = FOLDER / f"{name}.xz"
    old = Transcript.from_bytes(path.read_bytes()) if path.exists() else None
    with progress() as status:
        place = _place(spec, status, variant)
        found = record(place, lambda _: True, status, scenarios)
    if _is_of_packages(spec):
        files = ", ".join(Path(file).name for file in spec.split(","))
        found = replace(found, target=replace(found.target, source=files))
    _keep(path, found, old)


def _is_of_packages(spec: str) -> bool:
    return spec.endswith(".deb")


def _called(spec: str) -> str:
    return Path(spec).name.split("_")[1] if _is_of_packages(spec) else spec


def _documents(globs: Sequence[str], derived: str | None, host: HostProfile) -> list[Scenario]:
    """Return the documents that the model can judge on a host, or what is derived from them."""
    files = {file for glob in globs for file in (FOLDER / "documents").glob(f"{glob}.json")}
    every = [read(file) for file in sorted(files)]
    if derived is not None:
        every = [made for one in every if (made := derive(one, derived)) is not None]
    return [one for one in every if judgeable((op for _, op in one.ops()), host)]


def _random(count: int, host: HostProfile) -> Iterator[Scenario]:
    for scenario in harmless(host, _SEED, count):
        every = (kind for _, op in scenario.ops() for kind in kinds(type(op)).values())
        # Random bytes cannot be compressed.
        if not any(isinstance(kind, Bytes) for kind in every):
            yield scenario


def _wanted(known: dict[Scenario, Entry], asked: list[Scenario], scenario: Scenario) -> bool:
    """Add a scenario to those of the transcript; return True if it must be recorded."""
    if _LEFT_OUT in scenario.id:
        return False
    asked.append(scenario)
    return scenario not in known


def _place(spec: str, status: Progress, variant: HostVariant = DEFAULT_HOST) -> Place:
    if spec == HOST:
        return ThisHost()
    kernel, *parameters = spec.split("+")
    variant = replace(variant, append=" ".join(parameters))
    archives = Archives(Cache.from_environment())
    return EmulatedHost.prepare(archives, kernel, None, status, variant=variant)


def _keep(path: Path, new: Transcript, old: Transcript | None) -> None:
    content = new.to_bytes()
    FOLDER.mkdir(exist_ok=True)
    path.write_bytes(content)
    steps = sum(len(step.replies) for entry in new.entries for step in entry.trace.steps)
    print(
        f"{path.name}: {new.target.kernel}, {len(new.entries)} scenarios, {steps} calls, "
        f"{len(content) / 1024:.0f} KiB"
    )
    unexplained = list(disagreements(new))
    _print_names("neither correct nor a known defect", unexplained)
    if old is not None:
        for what, names in _changes(old, new):
            _print_names(what, names)


def _print_names(what: str, names: list[str]) -> None:
    if names:
        print(f"  {what}: {len(names)}")
        for name in names[:_SHOWN]:
            print(f"    {name}")


def _changes(old: Transcript, new: Transcript) -> Iterator[tuple[str, list[str]]]:
    before = {entry.scenario.id: entry for entry in old.entries}
    after = {entry.scenario.id: entry for entry in new.entries}
    yield "new scenarios", sorted(after.keys() - before.keys())
    yield "removed scenarios", sorted(before.keys() - after.keys())
    both = sorted(before.keys() & after.keys())
    same_calls = [name for name in both if before[name].scenario == after[name].scenario]
    yield "changed calls", sorted(set(both) - set(same_calls))
    yield (
        "changed answers",
        [name for name in same_calls if before[name].trace.steps != after[name].trace.steps],
    )
    gone, come = old.behaviours - new.behaviours, new.behaviours - old.behaviours
    yield "behaviours no longer found", sorted(b.name for b in gone)
    yield "new behaviours", sorted(b.name for b in come)


if __name__ == "__main__":
    main()
