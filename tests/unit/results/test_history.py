"""What a journal comes to: records, and who was open when the host went down."""

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.results.history import History
from kvmprobe.results.record import ScenarioRecord, Target
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.run import RunUntilHalt

HOST = Target("host", "6.12.95", "running: #1")
LAB = Target("lab", "7.3.4", "linux-image 7.3.4-1")
BOOT_A, BOOT_B, BOOT_C = "boot-a", "boot-b", "boot-c"


def begin(boot=BOOT_A, planned=("a.1", "a.2", "a.3")):
    return {"type": "begin", "boot_id": boot, "planned": list(planned)}


def place(target=HOST):
    identity = {"kind": target.kind, "kernel": target.kernel, "source": target.source}
    return {"type": "place", "target": identity, "real": target is HOST, "facts": "0" * 64}


def intent(*ids, goes_on=False):
    return {"type": "intent", "scenarios": list(ids), "goes_on": goes_on}


def record(scenario_id, target=HOST):
    return ScenarioRecord(scenario_id, "", "", target, Verdict.PASS)


def result(scenario_id, target=HOST):
    return {"type": "result", "record": record_to_json(record(scenario_id, target))}


def held(scenario_id):
    return {
        "type": "held",
        "record": record_to_json(record(scenario_id)),
        "before": {"op": "run-until-halt"},
    }


END = {"type": "end", "complete": False}


def history(*entries, boot=None):
    return History.of(entries, boot)


def test_records_have_the_target_of_their_place():
    told = history(begin(), place(), intent("a.1"), result("a.1"))
    assert list(told.records) == [(HOST, "a.1")]


def test_what_has_no_record_is_not_completed():
    told = history(begin(), place(), intent("a.1", "a.2"), result("a.2"))
    assert told.not_completed == ("a.1", "a.3")


def test_what_was_open_in_another_boot_is_suspect():
    told = history(begin(), place(), intent("a.1", "a.2"), result("a.1"), boot=BOOT_B)
    assert {i: [f.alone for f in falls] for i, falls in told.suspects.items()} == {"a.2": [False]}


def test_what_was_open_in_this_boot_is_not():
    told = history(begin(), place(), intent("a.1"), boot=BOOT_A)
    assert told.suspects == {}


def test_a_scenario_that_was_open_alone_is_to_blame():
    told = history(begin(), place(), intent("a.1"), boot=BOOT_B)
    assert [fall.alone for fall in told.suspects["a.1"]] == [True]


def test_every_boot_that_ended_so_counts():
    told = history(
        begin(), place(), intent("a.1"), begin(BOOT_B), place(), intent("a.1"), boot=BOOT_C
    )
    assert [fall.boot_id for fall in told.suspects["a.1"]] == [BOOT_A, BOOT_B]


def test_a_hold_closes_what_was_open():
    told = history(begin(), place(), intent("a.1"), held("a.1"), boot=BOOT_B)
    assert (told.suspects, told.gated["a.1"].before) == ({}, RunUntilHalt())


def test_going_on_after_a_hold_is_foreseen():
    told = history(
        begin(),
        place(),
        intent("a.1"),
        held("a.1"),
        intent("a.1", goes_on=True),
        boot=BOOT_B,
    )
    assert [fall.foreseen for fall in told.suspects["a.1"]] == [True]


def test_a_suspect_that_has_a_record_in_the_end_is_none():
    told = history(
        begin(), place(), intent("a.1"), begin(BOOT_B), place(), intent("a.1"), result("a.1")
    )
    assert (told.suspects, len(told.host_crashes["a.1"])) == ({}, 1)


def test_a_reboot_after_an_orderly_end_blames_nobody():
    told = history(begin(), place(), intent("a.1"), END, boot=BOOT_B)
    assert told.suspects == {}


def test_this_host_did_not_go_down_with_an_emulated_one():
    told = history(begin(), place(LAB), intent("a.1"), boot=BOOT_B)
    assert told.suspects == {}


def test_an_attempt_that_is_over_says_how():
    assert history(begin(), END).end == END


def test_an_attempt_after_it_has_not_ended():
    assert history(begin(), END, begin()).end is None


@pytest.mark.parametrize(
    "entry", [{"type": "intent"}, {"type": "result", "record": 3}, {"type": "place", "target": {}}]
)
def test_an_entry_that_lacks_something_is_told(entry):
    with pytest.raises(ScenarioError, match=r"malformed|missing"):
        history(begin(), place(), entry)
