"""A record of a scenario that did not end, in the page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from kvmprobe.reports.html_report.page import page
from tests.browser.conftest import show_at
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


def test_the_step_that_did_not_end_is_the_last_of_the_steps(browser, address):
    browser.get(f"{address}#0/{HUNG.id}")
    script = "return [...document.querySelectorAll('#detail .steps tr')].at(-1).textContent"
    assert browser.execute_script(script) == f"{HUNG.hang.step}{HUNG.hang.during.text}✕ timed out"


def test_a_task_is_found_by_where_it_sleeps(browser, address):
    browser.get(address)
    shown = "return document.querySelector('#filter-count').textContent"
    browser.find_element(By.CSS_SELECTOR, "#filter-text").send_keys("wchan kvm_vcpu_load")
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(shown) == "2 of 2 scenarios")
    browser.find_element(By.CSS_SELECTOR, "#filter-text").send_keys("nowhere")
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(shown) == "0 of 2 scenarios")


def test_a_long_line_of_a_task_scrolls_in_its_own_box(browser, address):
    show_at(browser, 390)
    browser.get(f"{address}#0/{HUNG.id}")
    hidden = "const e = document.querySelector('#detail'); return e.scrollWidth - e.clientWidth"
    assert browser.execute_script(hidden) == 0


def test_a_crash_that_only_a_task_died_of_says_so(browser, address):
    browser.get(f"{address}#0/xsave.b")
    headings = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#detail h3")]
    assert "The kernel killed python (7) in step 2: KVM_RUN" in headings
