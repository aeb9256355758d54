"""Failures whose cause is known."""

import re

import pytest

from kvmprobe.suites.explained import explained, explanations

MWAIT = "x86_64/monitor_mwait_test.c:49: Expected success on MONITOR for testcase '0x6', got '0x6'"


def test_a_known_failure_has_its_cause():
    told = explained("monitor_mwait_test", "6.12.95", f"output\n{MWAIT}")
    assert told.startswith(f"output\n{MWAIT}; test: it switches a quirk on again")


@pytest.mark.parametrize(
    ("test", "kernel", "reason"),
    [
        ("monitor_mwait_test", "7.3.4", MWAIT),
        ("other_test", "6.12.95", MWAIT),
        ("monitor_mwait_test", "6.12.95", "x.c:1: something else"),
        ("monitor_mwait_test", "6.12.95", f"{MWAIT}\nkilled by SIGSEGV"),
    ],
)
def test_another_failure_is_not_explained(test, kernel, reason):
    assert explained(test, kernel, reason) == reason


def test_every_entry_says_how_it_was_found_out():
    assert [e.test for e in explanations() if not (e.why and e.source)] == []


def test_every_pattern_can_be_compiled():
    assert [e.test for e in explanations() if not (re.compile(e.test) and re.compile(e.says))] == []


def test_a_machine_with_one_processor_is_why_a_test_has_no_vcpu():
    reason = "max_guest_memory_test.c:149: nr_vcpus > 0: Uh, no CPUs?"
    assert "; machine: " in explained("max_guest_memory_test", "6.12.95", reason)
