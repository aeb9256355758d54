"""Compare the records of runs of one kernel: they differ in nothing but times and addresses.

Runs with one job and with several, from a boot and from a saved machine, have to agree.  What a
guest's clocks and counters read is a time.  So is whether the kernel logs a message that it limits
to some per second: that depends on what ran just before.  Process ids are left out as well.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.checkers.normal_msrs import moving_fields
from kvmprobe.errors import KvmprobeError, UsageError
from kvmprobe.results.journal import EntryType, read_entries
from kvmprobe.results.record_json import record_from_json
from kvmprobe.results.run_directory import JOURNAL, is_run_directory, no_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.results.record import CallRecord, ScenarioRecord, StepRecord

_SHOWN = 20
# include/linux/kvm_host.h: vcpu_unimpl.
_PID = re.compile(r"kvm \[\d+\]")
# arch/x86/kvm/vmx/vmx.c: dump_vmcs: pr_warn_ratelimited.
_LIMITED = "dump_invalid_vmcs=1 to dump internal KVM state"


def timeless(record: ScenarioRecord) -> ScenarioRecord:
    """Return a record without what differs between two runs on one machine."""
    crash = record.crash and replace(record.crash, report="")
    steps = tuple(map(_timeless_step, record.steps))
    return replace(record, duration=0.0, crash=crash, steps=steps)


def _timeless_step(step: StepRecord) -> StepRecord:
    log = tuple(_PID.sub("kvm [PID]", line) for line in step.kernel_log if _LIMITED not in line)
    return replace(step, calls=tuple(map(_timeless_call, step.calls)), kernel_log=log)


def _timeless_call(call: CallRecord) -> CallRecord:
    moving = moving_fields(call)
    if not moving:
        return call
    still = {name: value for name, value in call.fields.items() if name not in moving}
    return replace(call, fields=still)


def differences(
    one: Mapping[str, ScenarioRecord], other: Mapping[str, ScenarioRecord]
) -> Iterator[str]:
    """Yield one line for each scenario that has a record in one run only, or another record."""
    for name in sorted(one.keys() ^ other.keys()):
        yield f"{name}: a record only in the {'first' if name in one else 'second'} run"
    for name, record in one.items():
        if name in other and (parts := _differing(timeless(record), timeless(other[name]))):
            yield f"{name}: {', '.join(parts)}"


def _differing(one: ScenarioRecord, other: ScenarioRecord) -> list[str]:
    names = (field.name for field in fields(one))
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _records(run: Path) -> dict[str, ScenarioRecord]:
    """Return a run's records by id.

    :raises UsageError: no run was written there, or a scenario has two records
    """
    if not is_run_directory(run):
        raise UsageError(no_run(run))
    entries = read_entries(run / JOURNAL)
    results = [each["record"] for each in entries if each["type"] == EntryType.RESULT.value]
    records = {record.id: record for record in map(record_from_json, results)}
    if len(records) != len(results):
        raise UsageError(f"{run}: {len(results)} records of {len(records)} scenarios")
    return records


def main() -> int:
    """Compare the first run with each other one; return 1 if any differs."""
    parser = argparse.ArgumentParser(prog="same_records", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's directory")
    first, *others = parser.parse_args().runs
    status = 0
    try:
        records = _records(first)
        for run in others:
            found = list(differences(records, _records(run)))
            print(f"{first} and {run}: {len(records)} records, {len(found)} differ")
            print("".join(f"  {line}\n" for line in found[:_SHOWN]), end="")
            status |= bool(found)
    except KvmprobeError as error:
        print(f"same_records: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
