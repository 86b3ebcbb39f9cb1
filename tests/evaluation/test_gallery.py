from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab.evaluation.attention_maps import AttentionMaps
from captionlab.evaluation.gallery import Example, attention_picture, render_gallery, write_gallery
from tests_support import HANG

HOSTILE = "<script>alert(1)</script> \"'&amp; $title <img src=x onerror=alert(2)> </li>"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Collects the tags with their attributes, and the text of each paragraph."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.paragraphs: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "p":
            self.paragraphs.append("")

    def handle_data(self, data):
        if self.paragraphs:
            self.paragraphs[-1] += data

    def all(self, name, **wanted):
        return [a for tag, a in self.tags if tag == name and wanted.items() <= a.items()]


def photo(height=40, width=60, value=0):
    image = np.full((height, width, 3), value, dtype=np.uint8)
    image[: height // 2, : width // 2] = (250, 20, 30)
    return image


def decoded(uri):
    head, data = uri.split(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def render(*examples, title="val", summary=None, facts=None):
    return render_gallery(examples, title, summary or {}, facts or {})


def test_page_needs_nothing_but_itself():
    page = render(Example(photo(), 1, "a dog", ("the dog",), {"cider": 1.0}))
    for _, attributes in Page(page).tags:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"https?://|@import|url\((?!\")", page)
    assert "default-src 'none'" in page


def test_hostile_words_stay_text_everywhere():
    maps = AttentionMaps(torch.ones(1, 2, 2))
    example = Example(
        photo(), HOSTILE, HOSTILE, (HOSTILE,), {HOSTILE: 1.0}, attention=maps, words=(HOSTILE,)
    )
    page = Page(render(example, title=HOSTILE, summary={HOSTILE: 0.5}))
    plain = Page(render(Example(photo(), 1, "a", ("b",), {"c": 1.0}, attention=maps, words=("a",))))
    plain_names = [tag for tag, _ in plain.tags]
    # the heading's score list is there only where there is a summary
    names = [tag for tag, _ in page.tags]
    start = names.index("dl")
    assert names[:start] + names[start + 4 :] == plain_names
    assert page.paragraphs[0].startswith(HOSTILE)
    assert json.loads(page.all("li")[0]["data-scores"]) == {HOSTILE: 1.0}


def test_alternative_text_is_the_caption_on_one_line():
    page = Page(render(Example(photo(), 1, "a dog\n runs "), Example(photo(), 2, "")))
    assert [image["alt"] for image in page.all("img")] == ["a dog runs", "(an empty caption)"]


@pytest.mark.parametrize("as_tensor", [True, False])
def test_small_image_is_embedded_exactly(as_tensor):
    image = photo()
    given = torch.from_numpy(image).permute(2, 0, 1) if as_tensor else image
    page = Page(render(Example(given, 1, "a")))
    assert np.array_equal(np.asarray(decoded(page.all("img")[0]["src"])), image)


def test_large_photo_is_embedded_small_and_looks_the_same():
    page = Page(render(Example(photo(600, 900, 200), 1, "a")))
    small = decoded(page.all("img")[0]["src"])
    assert small.size == (320, 213)
    assert np.abs(np.asarray(small)[50, 80].astype(int) - (250, 20, 30)).max() < 8


def test_image_of_another_form_is_refused():
    for image in (np.zeros((4, 4), np.uint8), torch.zeros(3, 4, 4)):
        with pytest.raises(ValueError, match="uint8 with 3 channels"):
            render(Example(image, 1, "a"))


def test_scores_are_shown_and_can_be_sorted_by():
    page = Page(
        render(
            Example(photo(), 1, "a", scores={"bleu_4": 0.25, "cider": 1.5}, true=False),
            Example(photo(), 2, "b", scores={"bleu_4": 0.5, "cider": float("nan"), "own": 3.0}),
        )
    )
    cards = page.all("li", **{"class": "card"})
    assert [json.loads(card["data-scores"]) for card in cards] == [
        {"bleu_4": 0.25, "cider": 1.5},
        {"bleu_4": 0.5, "own": 3.0},
    ]
    assert [card["data-true"] for card in cards] == ["false", ""]
    values = [option["value"] for option in page.all("option")]
    assert values[:6] == ["given", "worst", "best", "bleu_4", "cider", "own"]
    assert [option["value"] for option in page.all("option", selected=None)] == ["cider"]


def test_controls_without_a_use_are_hidden():
    page = render(Example(photo(), 1, "a"))
    assert page.count("<label hidden>") == 2
    page = render(Example(photo(), 1, "a", scores={"cider": 1.0}, true=True))
    assert "<label hidden>" not in page


def test_every_control_has_a_label():
    page = render(Example(photo(), 1, "a", scores={"cider": 1.0}))
    form = page[page.index("<form") : page.index("</form>")]
    for label in re.findall(r"<label.*?</label>", form, re.DOTALL):
        assert re.match(r"<label[^>]*>\w+", label)
    controls = re.findall(r"<(?:input|select)", form)
    assert len(controls) == len(re.findall(r"<label", form)) == 4


def test_attention_is_clear_where_the_model_looked():
    maps = torch.tensor([[[0.0, 0.25], [0.5, 0.25]], [[1.0, 0.0], [0.0, 0.0]]])
    example = Example(photo(), 1, "a dog", attention=AttentionMaps(maps), words=("a", "dog"))
    first, second = Page(render(example)).all("img")[1:]
    assert np.asarray(decoded(first["src"]))[..., 1].tolist() == [[210, 105], [0, 105]]
    assert np.asarray(decoded(second["src"]))[..., 1].tolist() == [[0, 210], [210, 210]]


def test_attention_that_does_not_fit_the_words_is_refused():
    maps = AttentionMaps(torch.ones(2, 3, 3))
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) does not fit 1 words"):
        render(Example(photo(), 1, "a", attention=maps, words=("a",)))


def test_pictures_and_their_small_copies_keep_their_proportions():
    maps = AttentionMaps(torch.ones(1, 2, 2))
    example = Example(photo(40, 60), 1, "a", attention=maps, words=("a",))
    page = render(example)
    assert "--shape: 60 / 40" in page
    assert decoded(Page(page).all("img")[0]["src"]).size == (60, 40)
    tile = attention_picture(example)
    assert tile.size == (112, 75 + 20)


def test_a_map_lies_in_its_frame_and_its_region_is_outlined():
    maps = AttentionMaps(
        torch.ones(1, 2, 2), (0.125, 0.0, 0.875, 1.0), torch.tensor([[0.0, 0.5, 0.25, 1.0]])
    )
    page = Page(render(Example(photo(), 1, "a", attention=maps, words=("a",))))
    assert page.all("img")[1]["style"] == "left:12.50%;top:0.00%;width:75.00%;height:100.00%"
    assert page.all("i")[0]["style"] == "left:0.00%;top:50.00%;width:25.00%;height:50.00%"


@pytest.mark.parametrize(
    ("frame", "bright", "dark"),
    [
        ((0.0, 0.0, 1.0, 1.0), (84, 18), (28, 56)),  # stretch: the map's upper right quarter
        ((0.25, 0.0, 0.75, 1.0), (70, 18), (100, 18)),  # crop: nothing outside is bright
        ((0.0, -0.5, 1.0, 1.5), (84, 10), (28, 60)),  # pad: what lies above is cut off
    ],
)
def test_the_dashboards_picture_is_bright_where_the_map_is(frame, bright, dark):
    white = np.full((40, 60, 3), 255, dtype=np.uint8)
    maps = AttentionMaps(torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), frame)
    tile = attention_picture(Example(white, 1, "a", attention=maps, words=("a",)))
    assert tile.getpixel(bright)[0] > 150
    assert tile.getpixel(dark)[0] < 80


def test_the_heading_says_of_what_the_page_is():
    facts = {"data": HOSTILE, "checkpoint": "/runs/a/best.ckpt (epoch 3)", HOSTILE: "greedy"}
    page = render(Example(photo(), 1, "a", remark=HOSTILE), title=HOSTILE, facts=facts)
    assert page.count("&lt;script&gt;alert(1)") >= 4
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert "<dt>checkpoint</dt><dd>/runs/a/best.ckpt (epoch 3)</dd>" in page
    assert [tag for tag, _ in Page(page).tags].count("script") == 1


def test_a_page_without_attention_says_why_once():
    unseen = [
        Example(photo(), i, "a", attention_missing="the <regions> have no boxes") for i in range(2)
    ]
    page = render(*unseen)
    assert page.count("not shown: the &lt;regions&gt; have no boxes") == 1
    maps = AttentionMaps(torch.ones(1, 2, 2))
    assert "not shown" not in render(Example(photo(), 1, "a", attention=maps, words=("a",)))


def test_page_without_examples_says_so():
    assert "There is no example." in render()


def test_failed_page_leaves_the_old_one_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "gallery.html"
    write_gallery(path, [Example(photo(), 1, "old \udc80")], "val", {"cider": 0.5})
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_gallery(path, [Example(photo(), 1, "new")], "val", {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ("", ["1", "2", "3", "4"]),
        ("#sort=worst", ["2", "3", "1", "4"]),
        ("#sort=best&by=bleu_4", ["3", "1", "2", "4"]),
        ("#sort=best&by=no_such", ["1", "3", "2", "4"]),
        ("#find=red", ["1"]),
        ("#find=%E7%BA%A2%E8%89%B2", ["3"]),
        ("#find=a-b+(", ["4"]),
        ("#show=false&sort=worst", ["2"]),
    ],
)
def test_browser_sorts_and_filters(tmp_path, settings, shown):
    examples = [
        Example(photo(), 1, "a red dog", scores={"cider": 3.0, "bleu_4": 0.2}, true=True),
        Example(photo(), 2, HOSTILE + " hundred", scores={"cider": 1.0, "bleu_4": 0.1}, true=False),
        Example(photo(), 3, "一个红色的圆", scores={"cider": 2.0, "bleu_4": 0.3}),
        Example(photo(), 4, "a-b (c", scores={"cider": float("nan")}),
    ]
    write_gallery(tmp_path / "gallery.html", examples, "val", {})
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    address = (tmp_path / "gallery.html").as_uri() + settings
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [*command, profile, address], capture_output=True, text=True, timeout=HANG
    )
    cards = Page(done.stdout).all("li", **{"class": "card"})
    assert [card["data-id"] for card in cards if "hidden" not in card] == shown
    assert f"{len(shown)} of 4" in done.stdout
