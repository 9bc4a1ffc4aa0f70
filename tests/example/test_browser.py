"""A visitor imports an airline's month and looks at its report, in a real browser with a real worker."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.processes]

PATIENCE_SECONDS = 60


def loaded_without_complaint(browser) -> bool:
    return not [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_the_bar_fills_and_the_report_shows_its_chart(browser, address):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select, WebDriverWait

    def one(selector: str):
        return browser.find_element(By.CSS_SELECTOR, selector)

    wait = WebDriverWait(browser, PATIENCE_SECONDS, poll_frequency=0.1)

    browser.get(address)
    assert "How late do New York" in one("h1").text
    Select(one("#airline")).select_by_value("HA")
    one("form.start button").click()

    wait.until(lambda _: browser.current_url.endswith("/imports/"))
    row = 'tr[data-airline="HA"]'
    # Nothing reloads the page: the script moves the bar.
    browser.execute_script("window.stillTheSamePage = true")
    wait.until(lambda _: one(f"{row} [data-field=percent]").text == "100")
    wait.until(lambda _: one("#standing").get_attribute("data-finished") == "true")
    assert one(f"{row} progress").get_property("value") == 31
    assert one(f"{row} [data-field=stored]").text == "31"
    assert one(f"{row} [data-field=state]").text == "finished"
    assert browser.execute_script("return window.stillTheSamePage === true")
    assert loaded_without_complaint(browser)

    one(f"{row} a[data-field=link]").click()
    wait.until(lambda _: browser.current_url.endswith("/airlines/HA/"))
    assert one("h1").text == "Hawaiian Airlines Inc."
    chart = one("svg.delays")
    assert chart.size["width"] > 600 and chart.size["height"] > 200
    bars = chart.find_elements(By.CSS_SELECTOR, "rect[class^=fill-]")
    assert len(bars) == 1, "all of its flights are due at nine"
    assert bars[0].size["height"] > 50
    assert "9:00: 31 flights" in chart.find_element(By.TAG_NAME, "desc").get_attribute("textContent")
    # The style sheet colours the bar: a chart without it would be black.
    assert bars[0].value_of_css_property("fill") not in ("rgb(0, 0, 0)", "none")
    assert loaded_without_complaint(browser)


def test_an_import_can_be_followed_without_scripts(browser, address):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select, WebDriverWait

    def one(selector: str):
        return browser.find_element(By.CSS_SELECTOR, selector)

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(address)
        Select(one("#airline")).select_by_value("OO")
        one("form.start button").click()
        wait = WebDriverWait(browser, PATIENCE_SECONDS, poll_frequency=0.1, ignored_exceptions=_reloading())
        wait.until(lambda _: one('tr[data-airline="OO"]').get_dom_attribute("data-state") == "finished")
        assert one('tr[data-airline="OO"] [data-field=percent]').text == "100"
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def _reloading():
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    return (NoSuchElementException, StaleElementReferenceException)
