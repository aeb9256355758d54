"""Programs on this machine's KVM against the executor: two ways to make the same calls."""

from __future__ import annotations

import subprocess

import pytest

from kvmprobe.execution.driver import Driver, Request
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.preflight import unmet
from kvmprobe.judge.verdicts import judged
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, OneOf
from kvmprobe.repro.other_hosts import Profile
from kvmprobe.repro.program import program
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.scenario import Need
from tests.support.places import ENDLESS
from tests.support.reproducers import build, printed

XSTATE_BV = 512
# Every host with KVM can run these: none needs AMX or guest code.
SAMPLE = [
    "restore.xsave-cpuid-xcrs-msrs.perm-none.xfd-zero.bv-notiles",
    "restore.xcrs-msrs-xsave.perm-none.xfd-zero.bv-legacy.xcr0-7",
    "cpuid.after-immediate-exit.no-amx",
    "fpu.set.first",
    "fpu.extent.exact",
    "msrs.lists.no-cpuid",
    "permission.inherit-exec.nothing",
    "permission.inherit-fork.locked",
    "permission.inherit-thread.locked",
    "permission.lock.closed-forked",
    "permission.lock.no-descriptor-vcpu",
    "permission.altstack.tiny",
    "sregs.bits.no-cpuid",
    "system.msr-list.whole",
    "vmm.kvmtool.no-tiles",
    "xcrs.single.no-cpuid",
    "xsave.components.bare",
]


@pytest.fixture(scope="module")
def here(examined):
    """Return the catalogue's scenarios that this host can run, and how the executor ran some."""
    lacking = unmet(examined).keys()
    listed = {s.id: s for s in catalog.scenarios(examined.profile) if not s.needs & lacking}
    chosen = [listed[name] for name in SAMPLE]
    place = ThisHost()
    with place.open() as link:
        driver = Driver(link, place.timing)
        requests = [Request(scenario, gate=1) for scenario in chosen]
        traces = {r.scenario.id: t for r, t in driver.traces(requests, examined.profile)}
    return listed, traces


def run(scenario, examined, folder):
    program_text = program(scenario, examined.profile, Profile.EXAMINED)
    executable = build(program_text, folder)
    return subprocess.run([executable], capture_output=True, text=True, check=False, timeout=60)


def executors_view(scenario, trace, host):
    for number, (step, seen) in enumerate(zip(scenario.steps, trace.steps, strict=True)):
        for place, (op, reply) in enumerate(zip(step.ops, seen.replies, strict=True)):
            yield (number, place), op, reply


def outcomes(scenario, host):
    """What a kernel like this one, its defects too, answers."""
    machine = Machine.fresh(host)
    for _, op in scenario.ops():
        step = op.step(machine)
        machine = step.machine
        yield step.outcome


def open_bits(outcome):
    """Bits of XSTATE_BV that may differ from run to run (SDM vol.1 13.6: XINUSE)."""
    if isinstance(outcome, OneOf):
        return -1
    image = outcome.image if isinstance(outcome, Done) else None
    bits = 0
    for unspecified in image.unspecified if image else ():
        for place, byte in enumerate(unspecified.bits, unspecified.offset - XSTATE_BV):
            bits |= byte << 8 * place if 0 <= place < 8 else 0
    return bits


def assert_same(values, read, bits, where):
    for name, value in values.items():
        ignored = bits if name == "XSTATE_BV" else 0
        assert value & ~ignored == read.get(name, 0) & ~ignored, (where, name)


@pytest.mark.parametrize("name", SAMPLE)
def test_program_sees_what_the_executor_sees(here, examined, tmp_path, name):
    listed, traces = here
    scenario, trace = listed[name], traces[name]
    ended = run(scenario, examined, tmp_path)
    calls = printed(ended.stdout)
    wanted = list(executors_view(scenario, trace, examined.profile))
    assert [place for place, _, _ in calls] == [place for place, _, _ in wanted], ended.stdout
    model = outcomes(scenario, examined.profile)
    for (place, result, values), (_, op, reply), outcome in zip(calls, wanted, model, strict=True):
        assert reply.result >= 0 if result is None else result == reply.result, (place, op)
        read = op.read(reply.output) if values else {}
        assert_same(values, read, open_bits(outcome), (place, op))


@pytest.mark.parametrize("name", SAMPLE)
def test_program_and_judge_agree_on_the_verdict(here, examined, tmp_path, name):
    listed, traces = here
    scenario = listed[name]
    record = judged(scenario, examined.profile, traces[name], ThisHost().target)
    reproduced = run(scenario, examined, tmp_path).returncode
    assert reproduced == (0 if record.verdict is Verdict.PASS else 1)


def test_a_program_that_hangs_ends_itself_with_a_message(examined, tmp_path):
    text = program(ENDLESS, examined.profile, Profile.EXAMINED)
    in_time = 'end_within(60, "ended early: did not end");'
    assert in_time in text
    executable = build(text.replace(in_time, in_time.replace("60", "1")), tmp_path)
    ended = subprocess.run([executable], capture_output=True, text=True, check=False, timeout=30)
    last = ended.stdout.splitlines()[-1]
    assert (ended.returncode, last) == (2, "ended early: did not end within 1 s")


def test_a_program_with_guest_code_cannot_run_if_kvm_runs_no_guest(examined, tmp_path):
    if Need.GUEST_CODE not in unmet(examined):
        pytest.skip("this KVM runs guests in 64-bit mode")
    wanted = (
        scenario
        for scenario in catalog.scenarios(examined.profile)
        if scenario.needs == {Need.GUEST_CODE}
        and any(Need.GUEST_CODE in step.op.needs for step in scenario.steps)
    )
    ended = run(next(wanted), examined, tmp_path)
    assert ended.returncode == 2
    assert ended.stdout.startswith("cannot run here: KVM does not run a 64-bit guest: ")
