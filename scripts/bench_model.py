"""Measure the model: steps per second, and the time to judge all transcripts."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import NotModelled
from kvmprobe.execution.preflight import profile_of
from kvmprobe.execution.recording import disagreements
from kvmprobe.model.machine import Machine
from kvmprobe.results.transcript import Transcript
from kvmprobe.scenarios.model_run import ModelRuns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.transcript import Entry

TRANSCRIPTS = Path(__file__).parent.parent / "tests" / "transcripts"
_ROUNDS = 5


def measure() -> None:
    """Print both measurements."""
    started = time.perf_counter()
    transcripts = [
        Transcript.from_bytes(path.read_bytes()) for path in sorted(TRANSCRIPTS.glob("*.xz"))
    ]
    read = time.perf_counter() - started
    everywhere = list(map(_of_a_correct_kernel, transcripts))
    for what, rate in (("each computed", _rate), ("as a run shares them", _shared_rate)):
        rates = [rate(everywhere) for _ in range(_ROUNDS)]
        print(
            f"the model, steps {what}: {statistics.median(rates):,.0f} per second of CPU time "
            f"(min {min(rates):,.0f}, max {max(rates):,.0f})"
        )
    started = time.perf_counter()
    odd = [name for transcript in transcripts for name in disagreements(transcript)]
    judged = time.perf_counter() - started
    count = sum(len(transcript.entries) for transcript in transcripts)
    print(
        f"replay of {len(transcripts)} transcripts, {count} scenarios: {read:.1f} s to read, "
        f"{judged:.1f} s to judge; {len(odd)} unexplained; target 10 s in total"
    )


def _of_a_correct_kernel(transcript: Transcript) -> Transcript:
    """Leave out where only a kernel with a defect could go."""
    host = profile_of(transcript.facts)
    return replace(transcript, entries=tuple(e for e in transcript.entries if _goes(e, host)))


def _goes(entry: Entry, host: HostProfile) -> bool:
    machine = Machine.fresh(host)
    try:
        for _, op in entry.scenario.ops():
            machine = op.step(machine).machine
    except NotModelled:
        return False
    return True


def _rate(transcripts: Sequence[Transcript]) -> float:
    steps, started = 0, time.process_time()
    for transcript in transcripts:
        host = profile_of(transcript.facts)
        for entry in transcript.entries:
            machine = Machine.fresh(host)
            for _, op in entry.scenario.ops():
                machine = op.step(machine).machine
                steps += 1
    return steps / (time.process_time() - started)


def _shared_rate(transcripts: Sequence[Transcript]) -> float:
    """Return the same with one model run for each transcript."""
    steps, started = 0, time.process_time()
    for transcript in transcripts:
        model_runs = ModelRuns(profile_of(transcript.facts))
        for entry in transcript.entries:
            steps += len(model_runs.with_defects().walked(entry.scenario))
    return steps / (time.process_time() - started)
