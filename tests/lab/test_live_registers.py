"""A thread with live tiles, AVX-512 and PKRU makes calls, alone and with another such process."""

import io
import json
from itertools import product

import pytest

from kvmprobe.abi.executor import Competition
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
from kvmprobe.scenarios.relations.repeats import is_run
from tests.support.live_faults import compiled

pytestmark = pytest.mark.lab
KERNEL = "7.3.4"
SILENCE = 120.0
IDS = ("guest.tiles-loaded.tiles", "guest.pkru-written.tiles", "guest.nm-each-use.tiles")
WAYS = ("host-live-tiles", "host-live-all", "host-live-init", "competing-tiles", "competing-init")
# The second row of TMM0 is 64 bytes into XTILE_DATA.  CPUID 0xD of a Sapphire Rapids: PKRU is at
# byte 2688, XTILE_DATA at 2816.
OFFSETS = {
    "none": [],
    "tiles-kept": [],
    "pkru": [2688],
    "tile-row": [2816 + 64],
    "no-tiles": [2816],
}
# By whose registers change, the member of the observer's line.
MEMBERS = {"caller": "h", "competitor": "o"}
# The competitor has its own permission for tiles, and uses them at any rate.
SCRIPT = """
program=$1; shift
for whose in caller competitor; do for fault; do $program $fault $whose; done; done
"""


@pytest.fixture(scope="module")
def reported(machine_parts, tmp_path_factory):
    """By whose registers change and fault, the offsets at which the observer reports a change."""
    archives, built = machine_parts
    path = compiled(tmp_path_factory.mktemp("live"))
    command = ("sh", "-c", SCRIPT, "sh", str(path), *OFFSETS)
    program = Program(command, (GuestFile(path, str(path)),))
    kernel = kernels.resolve(KERNEL, modules_dir=None, archives=archives, progress=Silent())
    sinks = Sinks(io.BytesIO(), io.BytesIO())
    assert run_program(kernel, built, program, sinks, Silent(), SILENCE) == 0
    lines = sinks.stdout.getvalue().decode().splitlines()
    return {
        (whose, fault): {
            member: [change[1] for change in found]
            for member, found in json.loads(line).items()
            if found
        }
        for (whose, fault), line in zip(product(MEMBERS, OFFSETS), lines, strict=True)
    }


@pytest.mark.parametrize("whose", MEMBERS)
@pytest.mark.parametrize("fault", OFFSETS)
def test_what_changes_during_a_call_is_reported_and_nothing_else(reported, fault, whose):
    expected = {MEMBERS[whose]: OFFSETS[fault]} if OFFSETS[fault] else {}
    assert reported[whose, fault] == expected


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
        (scenario.id, op.text, reply.changes, reply.other_changes)
        for scenario, trace in ran
        for step, got in zip(scenario.steps, trace.steps, strict=True)
        for op, reply in zip(step.ops, got.replies, strict=True)
        if reply.changes or reply.other_changes
    ]
    assert changed == []


def test_the_guest_sees_nothing_of_live_registers(ran):
    checkers = Checkers(sapphire_rapids())
    assert [(s.id, found) for s, t in ran if (found := checkers.across(s, t, ()))] == []


def test_the_thread_may_use_tiles(ran):
    asked = [trace.steps[0].replies[0] for s, trace in ran if s.id.endswith("-tiles")]
    assert [reply.result for reply in asked] == [0] * 2 * len(IDS)


def test_the_competing_process_runs_while_the_guest_does(ran):
    rounds = {
        scenario.id: sum(
            got.rounds
            for step, got in zip(scenario.steps, trace.steps, strict=True)
            if is_run(step.op)
        )
        for scenario, trace in ran
        if scenario.competition is Competition.PROCESS_COMPETES
    }
    assert [name for name, count in rounds.items() if not count] == []
