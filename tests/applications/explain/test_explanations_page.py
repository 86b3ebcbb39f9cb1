"""The page of explanations."""

import re
from html.parser import HTMLParser
from pathlib import Path

import torch

from captionlab.applications.explain.curves import Curve, Curves
from captionlab.applications.explain.explanation import Explanation, WordExplanation
from captionlab.applications.explain.page import Explained, Page, describe, overlay
from captionlab.applications.explain.saliency import Saliency

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
CURVES = Curves(Curve((1.0, 0.25, 0.0)), Curve((0.0, 0.5, 1.0)))


def explained(word: str = "star", name: str = "a.png") -> Explained:
    saliency = torch.zeros(32, 32)
    saliency[8, 24] = 1.0
    maps = (Saliency("occlusion", saliency, f"remark {word}", CURVES),)
    words = (WordExplanation(word, 2, 0.5, 0.1, maps),)
    explanation = Explanation(
        torch.full((3, 32, 32), 90, dtype=torch.uint8),
        f"a {word}",
        words,
        {"attention": f"reason {word}"},
        {"occlusion": 1.5},
    )
    return Explained(name, explanation, 1.5, word)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_hostile_words_and_names_stay_text():
    page = Page(HOSTILE, [explained(HOSTILE, HOSTILE)] * 2, {HOSTILE: HOSTILE}).render()
    tags = Tags(page).tags
    assert "script" not in {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert all(a["src"].startswith("data:image/") for tag, a in tags if tag == "img")


def test_page_needs_nothing_from_elsewhere():
    page = Page("t", [explained()]).render()
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in page


def test_each_picture_has_words_for_those_who_do_not_see_it():
    tags = Tags(Page("t", [explained()]).render()).tags
    images = [attributes["alt"] for tag, attributes in tags if tag == "img"]
    assert len(images) == 2
    assert "point 77% from the left and 27% from the top" in images[1]
    charts = [attributes for tag, attributes in tags if tag == "svg" and "role" in attributes]
    assert ["deletion" in one["aria-label"] for one in charts] == [True, False]


def test_numbers_and_reasons_are_on_the_page():
    page = Page("t", [explained()]).render()
    for text in ("50.0% likely, 10.0% with a gray picture", "0.375", "reason star", "1.5 s"):
        assert text in page


def test_overlay_is_yellow_where_it_speaks_for_and_blue_where_against():
    saliency = torch.zeros(32, 32)
    saliency[:16, :16], saliency[20:, 20:] = 1.0, -1.0
    saliency[4, 4] = 1.01
    image = overlay(
        explained().explanation.picture.permute(1, 2, 0).numpy(), Saliency("a", saliency)
    )
    red, _, blue = image.getpixel((100, 100))
    assert red > blue
    red, _, blue = image.getpixel((220, 220))
    assert blue > red


def test_description_names_method_and_place():
    text = describe("star", explained().explanation.words[0].saliencies[0])
    assert "“star”" in text
    assert "occlusion" in text


def test_page_is_written_whole_even_with_half_characters(tmp_path: Path):
    Page("t\ud800", [explained()]).write(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
