"""Everybody can use it: axe, small screens, large text, both color schemes."""

from __future__ import annotations

import pytest
from fake_server import caption
from page_support import picture

pytestmark = pytest.mark.slow
SIZES = {360: 740, 1400: 900}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
def test_axe_finds_nothing_in_any_state(open_page, server, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme)

    def check() -> None:
        found = axe.run(page, options={"runOnly": {"type": "tag", "values": TAGS}})
        assert found.violations_count == 0, found.generate_report()

    check()
    release = server.hold()
    page.set_input_files("#file", picture())
    page.wait_for_selector("#waiting:not([hidden])")
    check()
    release()
    page.wait_for_selector(".word")
    page.focus(".word")
    check()
    server.captions = [caption("a cat", 0.1), caption("a hat", 0.05)]
    page.fill("#question", "what is it?")
    page.press("#question", "Enter")
    page.wait_for_selector("#unsure:not([hidden])")
    page.click("#captions li:nth-child(2) button")
    check()
    server.fail(401)
    page.set_input_files("#file", picture())
    page.wait_for_selector("#token-form:not([hidden])")
    check()


@pytest.mark.parametrize(("width", "zoom"), [(360, 1), (360, 2), (640, 1), (896, 1), (1400, 2)])
def test_nothing_is_cut_off_or_scrolls_sideways(open_page, server, width, zoom):
    server.captions = [
        caption("a dog " * 12 + "Donaudampfschifffahrtsgesellschaftskapitaen" * 3)
    ] * 3
    page = open_page(viewport={"width": width, "height": 800})
    page.evaluate(f"document.documentElement.style.fontSize = '{100 * zoom}%'")
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    cut = """[...document.querySelectorAll('button, label, h1, .words, p:not(.unseen)')]
      .filter(one => one.offsetParent && !one.closest('.unseen'))
      .filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML)"""
    assert page.evaluate(cut) == []
    # nor is anything squeezed to a column of letters
    width = "captions => Math.min(...captions.map(caption => caption.offsetWidth))"
    assert page.eval_on_selector_all("#captions span:first-child", width) > 100


def test_targets_are_large_enough_for_a_thumb(open_page, server):
    page = open_page(viewport={"width": 360, "height": 740})
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    small = """[...document.querySelectorAll('button, input, select')]
      .filter(one => one.offsetParent && one.getBoundingClientRect().height < 24)"""
    assert page.evaluate(f"{small}.length") == 0


def test_nothing_moves_where_motion_is_unwelcome(open_page, server):
    page = open_page()
    release = server.hold()
    page.set_input_files("#file", picture())
    page.wait_for_selector("#waiting:not([hidden])")
    assert page.evaluate("document.getAnimations().length") == 0
    release()


def test_the_focus_can_be_seen(page):
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    for _ in range(12):
        page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        assert page.evaluate(f"{style}.outlineStyle") == "solid"
        assert page.evaluate(f"parseFloat({style}.outlineWidth)") >= 2


def test_the_page_asks_no_other_host(page, server):
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.reload()
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    assert hosts == {server.url.split("/")[2]}
