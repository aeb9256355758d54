"""Records the answers of kernels into ``tests/transcripts``, and tells what changed there.

KERNEL is what ``kvmprobe run --kernel`` takes, or ``host`` for the running kernel.  Recorded are
all scenarios but the third axis of the restore matrix.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.terminal import progress
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.recording import disagreements, record
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.results.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.execution.place import Place
    from kvmprobe.progress import Progress

FOLDER = Path(__file__).parent.parent / "tests" / "transcripts"
HOST = "host"
DEFAULT = ("6.1.192", "6.12.43", "6.12.95", "6.17.8", "7.3.4", HOST)
_LEFT_OUT = ".xcr0-"
_SHOWN = 20


def main() -> None:
    """Record each kernel."""
    parser = argparse.ArgumentParser(prog="record_transcripts", description=__doc__)
    parser.add_argument("kernel", nargs="*", default=DEFAULT, help=f"default: {' '.join(DEFAULT)}")
    for spec in parser.parse_args().kernel:
        with progress() as status:
            new = record(_place(spec, status), lambda name: _LEFT_OUT not in name, status)
        _keep(FOLDER / f"{spec}.xz", new)


def _place(spec: str, status: Progress) -> Place:
    if spec == HOST:
        return ThisHost()
    return EmulatedHost.prepare(Archives(Cache.from_environment()), spec, None, status)


def _keep(path: Path, new: Transcript) -> None:
    old = Transcript.from_bytes(path.read_bytes()) if path.exists() else None
    content = new.to_bytes()
    FOLDER.mkdir(exist_ok=True)
    path.write_bytes(content)
    steps = sum(len(step.replies) for entry in new.entries for step in entry.trace.steps)
    print(
        f"{path.name}: {new.target.kernel}, {len(new.entries)} scenarios, {steps} calls, "
        f"{len(content) / 1024:.0f} KiB"
    )
    unexplained = list(disagreements(new))
    _tell("neither correct nor a known defect", unexplained)
    if old is not None:
        for what, names in _changes(old, new):
            _tell(what, names)


def _tell(what: str, names: list[str]) -> None:
    if names:
        print(f"  {what}: {len(names)}")
        for name in names[:_SHOWN]:
            print(f"    {name}")


def _changes(old: Transcript, new: Transcript) -> Iterator[tuple[str, list[str]]]:
    before = {entry.scenario.id: entry for entry in old.entries}
    after = {entry.scenario.id: entry for entry in new.entries}
    yield "new scenarios", sorted(after.keys() - before.keys())
    yield "gone", sorted(before.keys() - after.keys())
    both = sorted(before.keys() & after.keys())
    asked_alike = [name for name in both if before[name].scenario == after[name].scenario]
    yield "other calls than before", sorted(set(both) - set(asked_alike))
    yield (
        "answered otherwise",
        [name for name in asked_alike if before[name].trace.steps != after[name].trace.steps],
    )
    gone, come = old.behaviours - new.behaviours, new.behaviours - old.behaviours
    yield "behaviours gone", sorted(b.name for b in gone)
    yield "behaviours found anew", sorted(b.name for b in come)


if __name__ == "__main__":
    main()
