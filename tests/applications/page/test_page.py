"""The page in a real browser, in short: the other files here, slow, have the rest."""

from __future__ import annotations

from fake_server import caption
from page_support import picture, reload

# in place of the file dialog, which is not always intercepted in time
OPENED = """document.getElementById("file").addEventListener("click", (event) => {
  event.preventDefault();
  document.title = "opened";
})"""


def test_a_picture_is_captioned_and_announced(page, server):
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    assert page.inner_text("#spoken") == "a dog runs on grass"
    announced = page.inner_text("#live")
    assert announced == "Caption: a dog runs on grass. Likely to be right: 80 %"
    assert server.captioned[0].picture[:2] == b"\xff\xd8"
    assert page.inner_text("#captions li:nth-child(2)").split("\n")[0] == "a brown dog outside"


def test_markup_in_a_caption_is_shown_as_text(page, server):
    hostile = (
        '<img src=x onerror="document.title=1"> <b>dog</b> </p><script>document.title=2</script>'
    )
    server.captions = [caption(hostile), caption(hostile)]
    server.abilities["styles"] = [hostile]
    reload(page)
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    assert page.inner_text("#spoken") == hostile
    assert page.locator("main img, main b, main script").count() == 0
    assert page.title().startswith("captionlab")


def test_the_keyboard_alone_reaches_everything(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focused(page) == "choose"
    page.evaluate(OPENED)
    page.keyboard.press("Enter")
    assert page.title() == "opened"
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    assert focused(page) == "choose"  # nothing takes the focus away
    visited = []
    for _ in range(14):
        page.keyboard.press("Tab")
        visited.append(focused(page))
    words, *rest = [visited[0], *visited[1:]]
    assert words.startswith("a, ")
    wanted = ["copy", "question", "language", "style", "begin", "Write it this way"]
    assert [one for one in rest if one in wanted] == wanted


def focused(page) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")
