"""The page of blind comparison in a real chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captionlab.applications.human_evaluation.app import create_app
from captionlab.applications.human_evaluation.study import Study
from pages_support import chromium, served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def enter(browser: Any, url: str, name: str, **options: Any) -> Any:
    page = browser.new_context(reduced_motion="reduce", **options).new_page()
    page.set_default_timeout(20_000)
    page.goto(url)
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#left-caption:not(:empty)")
    return page


def judged(page: Any, count: int) -> Any:
    page.get_by_text(f"{count} of about").wait_for()
    return page


@pytest.mark.slow
def test_a_study_is_judged_by_keyboard_alone(browser: Any, new_study: Any, folder: Path):
    study: Study = new_study(repeat_share=0.0)
    with served(create_app(study, folder)) as server:
        page = enter(browser, server.url, "Ann")
        for number in range(12):
            judged(page, number)
            left = page.locator("#left-caption").inner_text()
            page.keyboard.press("1" if left.startswith("alpha") else "2")
        page.get_by_text("That was all").wait_for()
    assert [one.choice for one in study.judgments()] == ["run-secret-a"] * 12


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1400])
def test_ratings_going_back_and_axe(browser: Any, new_study: Any, folder: Path, width: int):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    study: Study = new_study(rates=True)
    with served(create_app(study, folder)) as server:
        page = enter(browser, server.url, "Ann", viewport={"width": width, "height": 900})
        report = axe.run(page)
        assert report.violations_count == 0, report.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.keyboard.press("2")
        page.locator("input[name=correctness_right][value='5']").check()
        page.keyboard.press("Enter")
        judged(page, 1).keyboard.press("b")
        page.locator("#right[aria-pressed=true]").wait_for()
        assert page.locator("input[name=correctness_right][value='5']").is_checked()
        page.locator("#equal").click()
        page.locator("#onward").click()
        page.locator("#equal[aria-pressed=false]").wait_for()
        (one,) = study.judgments()
        assert (one.choice, one.correctness_a or one.correctness_b) == ("equal", 5)
