"""The committed page in headless Chromium: sorted, filtered and opened by clicks; as wide as a desk and a phone."""

import pytest
from paths import REPORTS

REPORT = REPORTS / "leaderboard.html"
pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser):
    browser.get(REPORT.as_uri())
    return browser


def texts(page, column, table="table.published"):
    """Visible cells of a column, top to bottom."""
    script = (
        "return [...document.querySelector(arguments[0]).tBodies].filter(b => !b.hidden && b.matches('.entry'))"
        ".map(b => b.rows[0].cells[arguments[1]].textContent.trim())"
    )
    return page.execute_script(script, table, column)


def test_a_click_on_a_heading_sorts_and_another_turns_it(page):
    heads = page.find_elements("css selector", "table.published > thead th")
    column = [head.text for head in heads].index("LFW")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", heads[column])
    for sign, state in ((-1, "descending"), (1, "ascending")):
        heads[column].click()
        numbers = [float(text) for text in texts(page, column) if text != "-"]
        assert len(numbers) > 50
        assert numbers == sorted(numbers, key=lambda number: sign * number)
        assert heads[column].get_attribute("aria-sort") == state


def test_rows_stay_in_their_division_when_sorted(page):
    table = "#rendered_five ~ .scroll table"
    before = set(texts(page, 0, table))
    page.find_elements("css selector", f"{table} > thead th")[2].click()
    assert set(texts(page, 0, table)) == before
    assert texts(page, 0, table)[0].startswith("smoke")  # the floors stay below


def test_typing_filters(page):
    box = page.find_element("css selector", "input[aria-label='Filter published rows']")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    box.send_keys("HSFace")
    names = texts(page, 0)
    assert 5 <= len(names) < 12
    box.clear()
    box.send_keys("no such dataset")
    assert texts(page, 0) == []


def test_a_click_opens_a_row_and_det_replaces_roc(page):
    row = page.find_element("css selector", "tr.row")
    details = page.find_element("css selector", "tr.details")
    assert not details.is_displayed()
    row.click()
    assert details.is_displayed()
    button = page.find_element("css selector", "button[data-toggle=det]")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    assert page.find_element("css selector", ".curves .det").is_displayed()
    assert not page.find_element("css selector", ".curves .roc").is_displayed()


def test_differences_follow_the_chosen_rows(page):
    tool = page.find_element("css selector", ".difference")
    first, second = tool.find_elements("css selector", "select")
    cells = lambda: tool.find_elements("css selector", "tbody tr:last-child td")  # noqa: E731
    before = cells()[1].text
    labels = [first.find_elements("css selector", "option")[i].text for i in (0, 1)]
    first.send_keys(labels[1])
    second.send_keys(labels[0])
    assert float(cells()[1].text) == -float(before)


def test_a_phone_scrolls_tables_and_not_the_page(page):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_fetched_and_nothing_fails(page):
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
