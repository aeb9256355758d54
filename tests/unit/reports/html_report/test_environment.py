"""The facts about hosts, and the page's table of them."""

import pytest

from kvmprobe.reports.host_facts import host_facts
from kvmprobe.reports.html_report.page import page
from kvmprobe.results.run_document import Ending, RunDocument
from tests.support.runs import HOSTILE, NEW, OLD, passed


def run(target, facts, **fields):
    facts = {target: facts}
    return RunDocument(
        "kvmprobe 0", ("run",), (passed("a.b", target),), environments=facts, **fields
    )


def facts_by_name(*runs):
    topics = host_facts(*(facts for run in runs for facts in run.environments.values()))
    return {name: texts for facts in topics.values() for name, texts in facts.items()}


def parameters(**of_kvm):
    return {"kvm": {"parameters": {"kvm": of_kvm}}}


def test_each_column_has_its_own_fact():
    found = facts_by_name(
        run(OLD, {"environment": {"kernel": {"build_id": "aa"}}}),
        run(NEW, {"environment": {"kernel": {"build_id": "bb"}}}),
    )
    assert found["build id"] == ("aa", "bb")


def test_what_all_columns_have_stands_once():
    runs = [run(t, {"environment": {"cpu": {"microcode": ["0x2b"]}}}) for t in (OLD, NEW)]
    assert facts_by_name(*runs)["microcode"] == ("0x2b", "0x2b")
    assert page(runs).count("0x2b") == 1


def test_modules_of_any_column_are_listed_with_their_parameters():
    found = facts_by_name(run(OLD, parameters(tdp_mmu="Y", ignore_msrs="N")), run(NEW, {}))
    assert found["parameters of kvm"] == ("tdp_mmu=Y ignore_msrs=N", "")


def test_what_no_host_has_is_not_listed():
    assert facts_by_name(run(OLD, {}), run(NEW, {})) == {}
    assert "hosts: kernel" not in page([run(OLD, {})])


def test_vulnerabilities_that_do_not_affect_it_are_left_out():
    facts = {"l1tf": "Not affected", "retbleed": "Vulnerable"}
    (fact,) = facts_by_name(run(OLD, {"environment": {"cpu": {"vulnerabilities": facts}}})).values()
    assert fact == ("retbleed: Vulnerable",)


@pytest.mark.parametrize("odd", [None, 7, "text", [], {"kernel": 7, "kvm": {"parameters": [1]}}])
def test_facts_of_another_shape_are_none(odd):
    assert facts_by_name(run(OLD, {"environment": odd, "kvm": odd, "cpu": odd})) == {}


def test_hostile_facts_stay_text():
    text = page([run(OLD, {"kernel": {"version": HOSTILE[0]}})])
    assert "<script>alert" not in text


def test_when_a_run_began_and_ended_and_what_it_says_of_itself_stand_there():
    facts = {"began": "2026-11-23T07:02:08Z", "ended": "2026-11-23T07:04:47Z"}
    text = page([run(OLD, {}, **facts, attempts=2, notes=("once-warnings may be consumed",))])
    assert "began 2026-11-23 07:02:08, ended 2026-11-23 07:04:47, 2 attempts" in text
    assert "once-warnings may be consumed" in text


def test_a_run_directory_that_was_cut_short_can_be_gone_on_with():
    cut = run(OLD, {}, run_id="1-2", not_completed=("c.d",), ending=Ending.CUT_SHORT)
    assert "1 of 2 planned scenarios have no record" in page([cut])
    assert "kvmprobe resume" in page([cut])
