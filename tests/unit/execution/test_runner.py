"""Which scenarios run, stop at the gate or continue, on kernels with known defects."""

from __future__ import annotations

import pytest

from kvmprobe.abi.log_records import LOST_RECORDS
from kvmprobe.errors import RunTimeout, Unavailable
from kvmprobe.execution.place import Risk
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.run import RunUntilHalt
from tests.support.fake_link import FakePlace, facts_of
from tests.support.hosts import AMX_HOST, AVX512_HOST, with_behaviours

B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
VARIANT = "perm-granted.xfd-armed.bv-tiles"


def is_restore(scenario_id, variant=VARIANT):
    return scenario_id.startswith("restore.") and scenario_id.endswith(variant)


# 30 orders; B1 needs cpuid < msrs < xsave, O1 cpuid < xsave < msrs: 4!/3! = 4 orders each.


def run(host, hazardous=Hazardous.STOP, *, risk=Risk.REAL, wanted=VARIANT):
    place, records = FakePlace(host, risk), []
    runner = Runner(place, hazardous, records.append, Silent())
    runner.run(lambda scenario_id: is_restore(scenario_id, wanted))
    return place, records, runner


def verdicts(records):
    return {v: n for v in Verdict if (n := sum(r.verdict is v for r in records))}


@pytest.fixture(scope="module")
def stopped():
    return run(with_behaviours(AMX_HOST, B1))


@pytest.fixture(scope="module")
def first_of_a_kind():
    host = with_behaviours(AMX_HOST, B1, O1)
    return run(host, Hazardous.FIRST_OF_A_KIND)


@pytest.fixture(scope="module")
def every():
    host = with_behaviours(AMX_HOST, B1)
    return run(host, Hazardous.EVERY, risk=Risk.EXPENDABLE)


def test_a_correct_kernel_passes_every_order():
    _, records, _ = run(AMX_HOST)
    assert verdicts(records) == {Verdict.PASS: 30}


def run_with_a_log(*messages):
    place, records = FakePlace(AMX_HOST, logs=messages), []
    runner = Runner(place, Hazardous.STOP, records.append, Silent())
    runner.run(lambda scenario_id: scenario_id == f"restore.cpuid-xcrs-msrs-xsave.{VARIANT}")
    return records, runner


def test_a_warning_of_the_kernel_is_a_divergence():
    records, runner = run_with_a_log("WARNING: CPU: 0 PID: 1 at arch/x86/kvm/x86.c:1")
    assert (verdicts(records), runner.blind_spots[1:]) == ({Verdict.DIVERGED: 1}, [])


def test_lost_log_records_are_a_blind_spot_not_a_divergence():
    records, runner = run_with_a_log(LOST_RECORDS)
    assert verdicts(records) == {Verdict.PASS: 1}
    assert runner.blind_spots[-1] == (
        f"restore.cpuid-xcrs-msrs-xsave.{VARIANT}: "
        "kernel log records were lost before they were read"
    )


def test_a_variant_of_the_kernel_is_not_a_divergence():
    _, records, _ = run(with_behaviours(AMX_HOST, Behaviour.KNOWS_APX))
    assert verdicts(records) == {Verdict.PASS: 30}


def test_a_kernel_with_b1_diverges_in_the_orders_that_trigger_it(stopped):
    _, records, _ = stopped
    assert verdicts(records) == {Verdict.PASS: 26, Verdict.DIVERGED: 4}


def test_a_fatal_load_is_never_made_on_a_real_host(stopped):
    place, _, _ = stopped
    assert place.loads == []


def test_the_model_alone_prevents_a_fatal_load_on_a_real_host():
    # This worker has no gate; the scenarios sent to it must not contain the load.
    place = FakePlace(with_behaviours(AMX_HOST, B1, O1), obedient=False)
    Runner(place, Hazardous.STOP, lambda _: None, Silent()).run(is_restore)
    assert place.loads == []


def test_the_read_back_alone_prevents_a_fatal_load_on_a_real_host():
    # The probes find no defect, so the model sees no hazard; the worker must get gate=1.
    place = FakePlace(with_behaviours(AMX_HOST, B1, O1), hides=True)
    Runner(place, Hazardous.STOP, lambda _: None, Silent()).run(is_restore)
    assert place.loads == []


def test_a_defect_that_the_probes_missed_still_diverges():
    place, records = FakePlace(with_behaviours(AMX_HOST, B1, O1), hides=True), []
    Runner(place, Hazardous.STOP, records.append, Silent()).run(is_restore)
    assert verdicts(records) == {Verdict.PASS: 22, Verdict.DIVERGED: 8}


def test_a_gated_scenario_has_a_reason(stopped):
    _, records, _ = stopped
    reasons = {r.reason for r in records if r.verdict is Verdict.DIVERGED}
    assert len(reasons) == 1
    assert "stopped before a guest-FPU load" in reasons.pop()


def test_a_diverged_scenario_names_the_known_defect(stopped):
    _, records, _ = stopped
    assert {r.known for r in records if r.verdict is Verdict.DIVERGED} == {("B1",)}


def test_hazardous_scenarios_run_last(stopped):
    _, records, _ = stopped
    assert [r.verdict for r in records[-4:]] == [Verdict.DIVERGED] * 4


def test_a_run_without_crashes_needs_one_worker(stopped):
    place, _, _ = stopped
    assert place.boots == 1


def test_the_first_of_each_kind_crashes(first_of_a_kind):
    # Two defects, each shows at its own call.
    place, records, _ = first_of_a_kind
    assert (len(place.loads), verdicts(records)[Verdict.CRASHED]) == (2, 2)


def test_other_scenarios_of_a_kind_name_the_one_that_crashed(first_of_a_kind):
    _, records, _ = first_of_a_kind
    crashed = {r.id for r in records if r.verdict is Verdict.CRASHED}
    others = [r for r in records if r.verdict is Verdict.DIVERGED]
    named = {r.reason.removeprefix("same as ").partition(";")[0] for r in others}
    assert (len(others), named) == (6, crashed)


def test_a_crash_is_explained_by_the_defect_that_predicts_it(first_of_a_kind):
    _, records, _ = first_of_a_kind
    assert {r.known for r in records if r.crash} == {("B1",), ("O1",)}


def test_a_crash_is_recorded_at_its_step(first_of_a_kind):
    _, records, _ = first_of_a_kind
    assert {r.crash.during for r in records if r.crash} == {RunUntilHalt()}


def test_with_every_each_hazardous_scenario_crashes(every):
    _, records, _ = every
    assert verdicts(records) == {Verdict.PASS: 26, Verdict.CRASHED: 4}


def test_each_crash_costs_one_link(every):
    # One link probed.  The last crash is the end of the run, and the first happens on the link that
    # ran the other scenarios.
    place, _, _ = every
    assert place.boots == 1 + 4


@pytest.mark.parametrize("fixture", ["stopped", "first_of_a_kind", "every"])
def test_each_scenario_is_recorded_exactly_once(fixture, request):
    _, records, _ = request.getfixturevalue(fixture)
    assert len({r.id for r in records}) == len(records) == 30


@pytest.mark.parametrize("fixture", ["stopped", "first_of_a_kind", "every"])
def test_nothing_remains(fixture, request):
    _, _, runner = request.getfixturevalue(fixture)
    assert not runner.remaining


def test_scenarios_that_need_amx_do_not_run_without_it():
    _, records, runner = run(AVX512_HOST, wanted="perm-none.xfd-zero.bv-legacy")
    assert (len(records), len(runner.not_runnable)) == (30, 0)


def test_a_scenario_that_cannot_run_has_a_reason_code():
    place = FakePlace(AVX512_HOST, facts=facts_of(AVX512_HOST, amx_tile=0))
    runner = Runner(place, Hazardous.STOP, lambda _: None, Silent())
    runner.run(is_restore)
    assert {r.reason.partition(":")[0] for r in runner.not_runnable} == {"no_amx_cpu"}


def test_a_kvm_without_amx_on_a_cpu_with_it_has_its_own_code():
    place = FakePlace(AVX512_HOST, facts=facts_of(AVX512_HOST, amx_tile=1))
    runner = Runner(place, Hazardous.STOP, lambda _: None, Silent())
    runner.run(is_restore)
    assert {r.reason.partition(":")[0] for r in runner.not_runnable} == {"no_amx_kvm"}


def test_a_deadline_that_passed_ends_the_run():
    runner = Runner(FakePlace(AMX_HOST), Hazardous.STOP, lambda _: None, Silent(), deadline=0)
    with pytest.raises(RunTimeout, match="29 of 30 scenarios did not complete"):
        runner.run(is_restore)


def test_an_unusable_kvm_has_a_reason_code():
    facts = facts_of(AMX_HOST) | {
        "kvm": None,
        "kvm_unavailable": {"code": "no_kvm_permission", "message": "open /dev/kvm: EACCES (13)"},
    }
    runner = Runner(FakePlace(AMX_HOST, facts=facts), Hazardous.STOP, lambda _: None, Silent())
    with pytest.raises(Unavailable, match="EACCES") as caught:
        runner.run(lambda _: True)
    assert caught.value.code == "no_kvm_permission"
