"""A thread with live tiles, AVX-512 and PKRU makes calls, on the emulated host."""

import io
import json

import pytest

from kvmprobe.checkers.session import Checkers
from kvmprobe.execution.driver import Driver, Request
from kvmprobe.lab import kernels
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.lab.program import GuestFile, Program, Sinks, run_program
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.progress import Silent
from kvmprobe.scenarios import catalog, relations
from tests.support.live_faults import compiled

pytestmark = pytest.mark.lab
KERNEL = "7.3.4"
SILENCE = 120.0
IDS = ("guest.tiles-loaded.tiles", "guest.pkru-written.tiles", "guest.nm-each-use.tiles")
WAYS = ("host-live-tiles", "host-live-all", "host-live-init")
# The second row of TMM0 is 64 bytes into XTILE_DATA.  CPUID 0xD of a Sapphire Rapids: PKRU is at
# byte 2688, XTILE_DATA at 2816.
OFFSETS = {
    "none": [],
    "tiles-kept": [],
    "pkru": [2688],
    "tile-row": [2816 + 64],
    "no-tiles": [2816],
}
SCRIPT = 'program=$1; shift; for fault; do echo "$($program $fault)"; done'


@pytest.fixture(scope="module")
def reported(machine_parts, tmp_path_factory):
    """By fault, the offsets at which the observer reports a change."""
    archives, built = machine_parts
    path = compiled(tmp_path_factory.mktemp("live"))
    command = ("sh", "-c", SCRIPT, "sh", str(path), *OFFSETS)
    program = Program(command, (GuestFile(path, str(path)),))
    kernel = kernels.resolve(KERNEL, modules_dir=None, archives=archives, progress=Silent())
    sinks = Sinks(io.BytesIO(), io.BytesIO())
    assert run_program(kernel, built, program, sinks, Silent(), SILENCE) == 0
    lines = sinks.stdout.getvalue().decode().splitlines()
    changes = [json.loads(line).get("h", []) for line in lines]
    return {
        fault: [change[1] for change in found]
        for fault, found in zip(OFFSETS, changes, strict=True)
    }


@pytest.mark.parametrize("fault", OFFSETS)
def test_what_a_call_changes_is_reported_and_nothing_else(reported, fault):
    assert reported[fault] == OFFSETS[fault]


@pytest.fixture(scope="module")
def ran():
    """Scenarios with and without live registers, with their traces, in the order of the bases."""
    host = sapphire_rapids()
    bases = [catalog.scenario(name, host) for name in IDS]
    scenarios = [s for base in bases for s in (base, *(relations.derive(base, w) for w in WAYS))]
    archives = Archives(Cache.from_environment())
    with EmulatedHost.prepare(archives, KERNEL, None, Silent()) as place, place.open() as link:
        requests = [Request(scenario, gate=0) for scenario in scenarios]
        return [
            (request.scenario, trace)
            for request, trace in Driver(link, place.timing).traces(requests, host)
        ]


def test_registers_stay_during_calls(ran):
    changed = [
        (scenario.id, op.text, reply.changes)
        for scenario, trace in ran
        for step, got in zip(scenario.steps, trace.steps, strict=True)
        for op, reply in zip(step.ops, got.replies, strict=True)
        if reply.changes
    ]
    assert changed == []


def test_the_guest_sees_nothing_of_live_registers(ran):
    checkers = Checkers(sapphire_rapids())
    assert [(s.id, found) for s, t in ran if (found := checkers.across(s, t, ()))] == []


def test_the_thread_may_use_tiles(ran):
    asked = [trace.steps[0].replies[0] for s, trace in ran if s.id.endswith(".host-live-tiles")]
    assert [reply.result for reply in asked] == [0] * len(IDS)
