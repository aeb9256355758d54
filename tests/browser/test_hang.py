"""A record of a scenario that did not end, in the page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from selenium.webdriver.common.by import By

from kvmprobe.reports.html_report.page import page
from tests.support.runs import CRASH, EVERY_VERDICT, STUCK, run_of_records

pytestmark = pytest.mark.browser
(HUNG,) = (record for record in EVERY_VERDICT if record.hang)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    killed = replace(HUNG, id="xsave.b", crash=replace(CRASH, victim="python (7)"))
    path = tmp_path_factory.mktemp("hang") / "page.html"
    path.write_text(page([run_of_records(HUNG, killed)]), encoding="utf-8", errors="replace")
    return path.as_uri()


def test_its_tasks_stand_in_the_record_and_are_text_whatever_they_say(browser, address):
    browser.get(f"{address}#0/{HUNG.id}")
    # The text has a lone surrogate, which the driver cannot return.
    script = "return document.querySelector('#detail pre').textContent.includes(arguments[0])"
    for text in (
        f"process {STUCK.pid}, thread {STUCK.tid}: D (disk sleep)",
        "<script>alert('1')</script>",
    ):
        assert browser.execute_script(script, text), text


def test_a_crash_that_only_a_task_died_of_says_so(browser, address):
    browser.get(f"{address}#0/xsave.b")
    headings = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#detail h3")]
    assert "The kernel killed python (7) in step 2: KVM_RUN" in headings
