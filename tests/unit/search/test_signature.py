"""Signatures have no numbers of steps, addresses or offsets."""

from __future__ import annotations

import pytest

from kvmprobe.judge.verdicts import judged
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.record import Crash, ScenarioRecord, Target
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from kvmprobe.search.signature import Explained, Signature, signatures_of
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST

TARGET = Target("lab", "7.3.4", "a fake")
B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
ARMED = [
    scenario
    for scenario in catalog.scenarios(AMX_HOST)
    if scenario.id
    in {
        "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles",
        "restore.cpuid-msrs-xsave-xcrs.perm-granted.xfd-armed.bv-tiles",
    }
]


def crashed(headline, *frames):
    crash = Crash(3, None, headline, frames[0], frames[1:], "report")
    return ScenarioRecord("a", "", "", TARGET, Verdict.CRASHED, crash=crash)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Oops: unexpected #NM exception: 0000 [#1] PREEMPT",
            "Oops: unexpected #NM exception: 0000 [#2] PREEMPT",
        ),
        (
            "unexpected #NM exception: 0000 [#1] PREEMPT SMP NOPTI",
            "Oops: unexpected #NM exception: 0000 [#1] SMP NOPTI",
        ),
        (
            "BUG: unable to handle page fault for address: ffffc90000a3f000",
            "BUG: unable to handle page fault for address: ffffc900011d7000",
        ),
    ],
)
def test_crashes_in_the_same_functions_have_one_signature(one, other):
    found = {signatures_of(crashed(h, "f", "g"), Explained.BY_NOTHING) for h in (one, other)}
    assert len(found) == 1


def test_crashes_in_other_functions_have_other_signatures():
    one, other = crashed("Oops", "f", "g"), crashed("Oops", "f", "h")
    assert signatures_of(one, Explained.BY_NOTHING) != signatures_of(other, Explained.BY_NOTHING)


def test_the_same_defect_at_other_steps_has_one_signature():
    records = [judged(s, AMX_HOST, trace_of(s, AMX_HOST, B1), TARGET) for s in ARMED]
    assert len({signatures_of(record, Explained.BY_NOTHING)[0] for record in records}) == 1


def test_what_known_defects_predict_has_none_unless_nothing_is_known():
    record = judged(ARMED[0], AMX_HOST, trace_of(ARMED[0], AMX_HOST, B1), TARGET)
    assert signatures_of(record, Explained.BY_KNOWN_DEFECTS) == ()


def test_the_name_can_be_the_name_of_a_file():
    name = Signature("divergence", "a / rule", ("KVM_GET_XSAVE2", "XTILE_DATA, row 1")).name
    assert name.replace("-", "").isalnum()
