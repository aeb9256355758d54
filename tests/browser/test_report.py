"""The HTML report as a reader uses it."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser.conftest import ALSO_CRASHING, CRASHING, HOSTILE, SHOWS_O2, sample, show_at

pytestmark = pytest.mark.browser
SECONDS = 10


def one(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def every(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def texts(browser, selector):
    # In one go: between two questions the list may have been drawn anew.
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    return browser.execute_script(script, selector)


def rows(browser):
    return [name for name in texts(browser, "#scenario-matrix tbody th") if "." in name]


def heading(browser):
    return "".join(texts(browser, "#detail-heading"))


def focused(browser):
    return browser.switch_to.active_element


def press(browser, *keys):
    actions = ActionChains(browser)
    for key in keys:
        actions.send_keys(key)
    actions.perform()


def wait(browser, condition):
    return WebDriverWait(browser, SECONDS).until(lambda _: condition())


def is_open(browser):
    return one(browser, "#detail").is_displayed()


def cell_of(browser, scenario, kernel):
    label = f"{scenario} on {kernel}: "
    return one(browser, f'#scenario-matrix td[aria-label^="{label}"]')


@pytest.fixture
def opened(browser, two_kernels):
    browser.get(two_kernels)
    return browser


@pytest.fixture
def crashed(browser, two_kernels):
    browser.get(f"{two_kernels}#1/{CRASHING}")
    wait(browser, lambda: is_open(browser))
    return browser


def test_a_click_on_a_cell_opens_its_record(opened):
    cell_of(opened, CRASHING, "6.0.2").click()
    wait(opened, lambda: is_open(opened))
    assert heading(opened) == CRASHING
    assert texts(opened, "#detail .badge") == ["CRASHED"]


def test_a_click_on_a_cell_of_the_orders_matrix_opens_its_record(opened):
    one(opened, f'#orders-matrix td[aria-label^="{CRASHING} on 6.0.2"]').click()
    wait(opened, lambda: is_open(opened))
    assert heading(opened) == CRASHING


def test_an_example_of_a_kind_opens_its_record(opened):
    link = one(opened, "#kinds a.open")
    name = link.get_property("textContent")
    link.click()
    wait(opened, lambda: is_open(opened))
    assert heading(opened) == name


def test_going_back_closes_the_record(opened):
    cell_of(opened, CRASHING, "6.0.2").click()
    wait(opened, lambda: is_open(opened))
    opened.back()
    wait(opened, lambda: not is_open(opened))


def test_the_same_scenario_on_another_kernel_is_one_click_away(crashed):
    one(crashed, '#detail .kernels button[data-column="0"]').click()
    wait(crashed, lambda: texts(crashed, "#detail .badge") == ["PASS"])


def test_the_timeline_shows_where_kernel_and_model_part(crashed):
    # O1: step 10 is the write to IA32_XFD, which should clear XSTATE_BV[18].
    picture = one(crashed, '#detail svg[role="img"]')
    spoken = picture.get_attribute("aria-label")
    assert "from step 10 on" in spoken
    assert "kernel has XSTATE_BV 0x60000, model 0x20000" in spoken
    assert "The host died in step 11" in spoken
    assert len(every(crashed, "#detail svg .differs")) == 1 + 1  # and the legend's
    assert {"10▲", "11✕"} <= set(texts(crashed, "#detail svg text"))


def test_each_observer_has_its_line_where_it_reads_something_new(crashed):
    # O1 once more: what KVM_GET_XSAVE2 reads in step 10 diverges; KVM_GET_MSRS reads the new XFD.
    lines = texts(crashed, "#step-10 tr")
    assert [line for line in lines if "KVM_GET_XSAVE2" in line and "expected 0x20000" in line]
    assert [line for line in lines if "KVM_GET_MSRS" in line and "XFD=0x40000" in line]
    assert len(every(crashed, "#step-10 tr.diverges")) == 1


def test_observers_that_read_what_they_had_read_share_a_line(crashed):
    # CPUID alone changes none of the registers.
    lines = texts(crashed, "#step-7 tr.observer")
    assert [line for line in lines if line.endswith("as before") and "KVM_GET_XSAVE2, " in line]


def test_a_click_on_the_timeline_shows_its_step_in_the_table(crashed):
    box = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return b.top"
    assert crashed.execute_script(box, "#step-10") > 900
    # The rectangle is transparent; a driver's click would ask what it is on.
    chosen = "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    crashed.execute_script(chosen, one(crashed, '#detail svg [data-step="10"]'))
    wait(crashed, lambda: 0 < crashed.execute_script(box, "#step-10") < 900)


def test_the_map_shows_which_bytes_differ(crashed):
    labels = [e.get_attribute("aria-label") for e in every(crashed, "#detail .box svg")]
    # SDM vol.1 13.4.2: XSTATE_BV is bytes 512-519; XTILE_DATA is 8192 bytes from 2816 on.
    assert any(label.startswith("XSTATE_BV, bytes 512-519: 1 of 8") for label in labels)
    assert any(label.startswith("XTILE_DATA, bytes 2816-11007:") for label in labels)


def test_frames_stand_out_in_the_console_and_the_rest_is_folded(crashed):
    marked = texts(crashed, "#detail pre mark")
    assert any("restore_fpregs_from_fpstate+0x45" in line for line in marked)
    folded = every(crashed, "#detail pre details")
    assert folded
    assert not any(e.get_property("open") for e in folded)


def test_verdicts_filter_the_list(opened):
    assert rows(opened) == [CRASHING, SHOWS_O2, ALSO_CRASHING]
    one(opened, 'input[name="verdict"][value="DIVERGED"]').click()
    wait(opened, lambda: rows(opened) == [CRASHING, ALSO_CRASHING])


def test_a_family_filters_the_list(opened):
    Select(one(opened, "#filter-family")).select_by_visible_text("restore")
    wait(opened, lambda: rows(opened) == [CRASHING])


def test_a_known_defect_filters_the_list(opened):
    Select(one(opened, "#filter-defect")).select_by_visible_text("O1")
    wait(opened, lambda: rows(opened) == [CRASHING, ALSO_CRASHING])
    assert set(texts(opened, "td.what")) == {"O1"}


def test_a_kernel_filters_the_list(opened):
    Select(one(opened, "#filter-column")).select_by_visible_text("6.0.1")
    wait(opened, lambda: rows(opened) == [])
    Select(one(opened, "#filter-column")).select_by_visible_text("6.0.2")
    wait(opened, lambda: len(rows(opened)) == 3)


def test_all_can_be_shown(opened):
    one(opened, 'button[type="reset"]').click()
    wait(opened, lambda: len(rows(opened)) == len(sample()))
    one(opened, "#filter-differing").click()
    wait(opened, lambda: rows(opened) == [CRASHING, SHOWS_O2, ALSO_CRASHING])


def test_search_finds_a_line_of_a_crashes_console(opened):
    one(opened, "#filter-text").send_keys("FPU_SWAP_kvm_fpstate+0x71")
    wait(opened, lambda: rows(opened) == [CRASHING, ALSO_CRASHING])
    assert one(opened, "#filter-count").text == f"2 of {len(sample())} scenarios"


def test_search_finds_ids_and_calls(opened):
    one(opened, "#filter-text").send_keys("cpuid-xcrs-xsave-msrs.perm-granted")
    wait(opened, lambda: rows(opened) == [CRASHING])
    one(opened, "#filter-text").clear()
    one(opened, "#filter-text").send_keys("kvm_get_fpu")
    wait(opened, lambda: rows(opened) == [SHOWS_O2])


def test_what_the_search_does_not_find_is_not_listed(opened):
    one(opened, "#filter-text").send_keys("no such text anywhere")
    wait(opened, lambda: rows(opened) == [])


def test_the_keyboard_alone_opens_and_closes_a_record(opened):
    press(opened, "/")
    assert focused(opened).get_attribute("id") == "filter-text"
    for _ in range(20):
        press(opened, Keys.TAB)
        if focused(opened).get_attribute("data-row"):
            break
    first = focused(opened).get_attribute("aria-label")
    press(opened, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    there = focused(opened)
    assert there.get_attribute("aria-label") != first
    press(opened, Keys.ENTER)
    wait(opened, lambda: is_open(opened))
    assert focused(opened).get_attribute("id") == "detail-heading"
    press(opened, Keys.ESCAPE)
    wait(opened, lambda: not is_open(opened))
    assert focused(opened) == there


def test_a_grid_is_one_tab_stop(opened):
    for grid in ("#scenario-matrix", "#orders-matrix"):
        assert len(every(opened, f'{grid} td[tabindex="0"]')) == 1


def test_n_and_p_step_through_what_is_listed(opened):
    listed = rows(opened)
    press(opened, "n")
    wait(opened, lambda: heading(opened) == listed[0])
    press(opened, "n")
    wait(opened, lambda: heading(opened) == listed[1])
    press(opened, "p")
    wait(opened, lambda: heading(opened) == listed[0])


def test_the_panels_buttons_step_as_n_and_p_do(opened):
    listed = rows(opened)
    press(opened, "n")
    wait(opened, lambda: heading(opened) == listed[0])
    one(opened, '#detail button[data-go="1"]').click()
    wait(opened, lambda: heading(opened) == listed[1])
    one(opened, '#detail button[data-go="-1"]').click()
    wait(opened, lambda: heading(opened) == listed[0])


def test_all_that_takes_the_focus_has_a_name(crashed):
    tree = crashed.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    nameless = [
        node["role"]["value"]
        for node in tree
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and not node.get("name", {}).get("value")
        and node["role"]["value"] != "generic"
    ]
    assert nameless == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("address", ["", f"#1/{CRASHING}"])
def test_only_tables_and_pictures_scroll_sideways(browser, two_kernels, width, address):
    show_at(browser, width)
    browser.get(two_kernels + address)
    hidden = "const e = document.querySelector(arguments[0]); return e.scrollWidth - e.clientWidth"
    assert [browser.execute_script(hidden, part) for part in ("html", "#detail")] == [0, 0]


def test_a_dark_scheme_is_dark(browser, two_kernels):
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    browser.get(two_kernels)
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in colour.strip("rgb()").split(",")) < 64


def test_on_paper_there_are_no_controls(browser, two_kernels):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.get(two_kernels)
    assert not one(browser, "#filters").is_displayed()
    assert one(browser, "#scenario-matrix").is_displayed()


@pytest.mark.parametrize("address", ["#%", "#0/nothing", "#99/a.b", "#length/0", "#-1/x"])
def test_an_address_of_nothing_opens_nothing(browser, two_kernels, address):
    browser.get(two_kernels + address)
    assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
    assert not is_open(browser)


def test_hostile_text_stays_text(browser, hostile):
    browser.get(f"{hostile}#0/{CRASHING}")
    wait(browser, lambda: is_open(browser))
    # U+2028 ends a line of the console.
    assert HOSTILE.rstrip() in one(browser, "#detail pre").get_property("textContent")
    assert len(every(browser, "script")) == 2
    assert every(browser, "img") == []
    one(browser, "#filter-text").send_keys("<script>alert(1)")
    wait(browser, lambda: rows(browser) == [CRASHING])


def test_no_other_script_could_run(chromium, two_kernels):
    chromium.get(two_kernels)
    chromium.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s); document.body.insertAdjacentHTML('beforeend',"
        "'<img src=x onerror=\"window.ran = 2\">')"
    )
    assert chromium.execute_script("return window.ran") is None


def test_a_thousand_scenarios_on_twelve_kernels_open_in_two_seconds(browser, twelve_kernels):
    assert twelve_kernels.stat().st_size <= 5 * 2**20
    browser.get(twelve_kernels.as_uri())
    loaded = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    assert 0 < browser.execute_script(loaded) < 2000
    assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
    one(browser, 'button[type="reset"]').click()
    wait(browser, lambda: len(rows(browser)) == 1000)
    assert len(every(browser, "#scenario-matrix td[data-row]")) == 12000
