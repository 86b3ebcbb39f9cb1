"""Words that are pointed at, where the model looked, other captions, and doubt."""

from __future__ import annotations

import pytest
from fake_server import caption
from page_support import picture, reload

from captionlab.data.images.prepare import frame

pytestmark = pytest.mark.slow

# how dark the overlay is at a share of its width and height
DARKNESS = """([x, y]) => {
  const canvas = document.getElementById("attention");
  const at = [Math.floor(x * (canvas.width - 1)), Math.floor(y * (canvas.height - 1))];
  return canvas.getContext("2d").getImageData(...at, 1, 1).data[3];
}"""


def captioned(page, width: int = 300, height: int = 200):
    page.set_input_files("#file", picture(width, height))
    page.wait_for_selector(".word")
    return page


def test_a_focused_word_tells_its_confidence_and_lights_where_the_model_looked(page):
    captioned(page)
    assert page.is_hidden("#attention")
    page.focus(".word")
    assert page.inner_text("#readout").startswith("“a”: 90 % sure.")
    assert page.evaluate(DARKNESS, [0.99, 0.99]) < 20
    assert page.evaluate(DARKNESS, [0.02, 0.02]) > 150
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout").startswith("“dog”: 45 % sure.")
    page.keyboard.press("End")
    assert page.inner_text("#readout").startswith("“grass”")
    page.keyboard.press("Tab")
    assert page.is_hidden("#attention")


def test_a_pointed_word_is_lit_and_a_clicked_one_stays_lit(page):
    captioned(page)
    page.hover(".word >> nth=1")
    assert page.is_visible("#attention")
    page.mouse.move(0, 0)
    assert page.is_hidden("#attention")
    page.click(".word >> nth=2")
    page.hover(".word >> nth=1")
    page.mouse.move(0, 0)
    assert page.inner_text("#readout").startswith("“runs”")
    page.keyboard.press("Escape")
    assert page.is_hidden("#attention")


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(300, 200), (211, 640), (224, 224), (1, 90)])
def test_the_grid_lies_where_the_server_prepares_the_picture(page, fit, size):
    width, height = size
    frame_of = "async (args) => (await import('/page/attention.js')).frameOf(...args)"
    box = page.evaluate(frame_of, [width, height, 224, fit])
    mine = [box[side] for side in ("left", "top", "right", "bottom")]
    theirs = frame(height, width, 224, fit)
    assert mine == pytest.approx(theirs)


def test_what_a_crop_leaves_out_is_dark_and_padding_lies_outside(page, server):
    server.abilities["fit"] = "crop"
    server.captions = [caption("dog")]
    server.captions[0]["words"][0]["attention"] = [[1, 1], [1, 1]]
    reload(page)
    captioned(page, 400, 200).focus(".word")
    assert page.evaluate(DARKNESS, [0.1, 0.5]) > 150
    assert page.evaluate(DARKNESS, [0.5, 0.5]) == 0


def test_a_word_tells_its_confidence_without_color(page):
    captioned(page)
    assert page.text_content(".word >> nth=0") == "a, 90 % sure"
    widths = page.evaluate(
        "[...document.querySelectorAll('.word')].map(word =>"
        " parseFloat(getComputedStyle(word, '::after').width) / word.clientWidth)"
    )
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 * widths[2]


def test_another_caption_takes_the_place_of_the_first_and_keeps_the_focus(page):
    captioned(page)
    page.focus("#captions li:nth-child(2) button")
    page.keyboard.press("Enter")
    assert page.inner_text("#spoken") == "a brown dog outside"
    assert page.inner_text("#live").startswith("Caption: a brown dog outside.")
    pressed = "[...document.querySelectorAll('#captions button')].map(b => b.ariaPressed)"
    assert page.evaluate(pressed) == ["false", "true"]
    assert page.evaluate("document.activeElement.ariaPressed") == "true"


def test_a_caption_that_is_probably_wrong_is_a_guess(page, server):
    server.captions = [caption("a cat sleeps", 0.12)]
    captioned(page)
    assert page.inner_text("#unsure") == "I am not sure what this shows."
    assert page.inner_text("#chance") == "My best guess, likely to be right: 12 %"
    assert page.inner_text("#live").startswith(
        "I am not sure what this shows. My best guess: a cat"
    )
    assert page.is_hidden("#others")


def test_the_server_says_which_chance_is_enough(page, server):
    server.captions = [caption("a cat sleeps", 0.12)]
    server.abilities["abstain"] = 0.1
    reload(page)
    captioned(page)
    assert page.inner_text("#chance") == "Likely to be right: 12 %"


def test_without_calibration_no_chance_is_claimed(page, server):
    server.captions = [caption("a cat", None, 0.5)]
    captioned(page)
    assert page.inner_text("#chance") == "Sure of its words: 38 % on average"


def test_chinese_words_and_a_given_beginning_keep_their_places(page, server):
    chinese = caption("一只 狗 在 跑")
    chinese["caption"] = "一只狗在跑"
    server.captions = [chinese]
    captioned(page)
    assert page.locator(".word").count() == 4
    assert page.evaluate("document.querySelector('#words').childNodes.length") == 4
    begun = caption("dog runs")
    begun["caption"] = "a photo of a dog runs"
    server.captions = [begun]
    page.set_input_files("#file", picture(80, 80))
    page.wait_for_selector("#words:has-text('a photo of')")
    assert page.evaluate("document.querySelector('#words').firstChild.data") == "a photo of a "


def test_odd_answers_do_no_harm(page, server):
    server.captions = [
        {
            "caption": "dog",
            "probability": 7,
            "words": [{"word": "dog", "confidence": None, "attention": [[None, "x"], [2, 1e300]]}],
        }
    ]
    captioned(page).focus(".word")
    assert page.inner_text("#chance") == "Likely to be right: 100 %"
    assert page.inner_text("#readout") == "“dog”. The picture is lit where the model looked."


def test_nobody_was_unsure_of_a_word_that_was_given(page, server):
    server.captions = [caption("a dog", None, 0.5)]
    server.captions[0]["words"][0]["given"] = True
    captioned(page)
    assert page.text_content(".word >> nth=0") == "a"
    assert page.inner_text("#chance") == "Sure of its words: 25 % on average"


def test_only_chances_stand_beside_other_captions(page, server):
    captioned(page)
    notes = "[...document.querySelectorAll('#captions .small')].map(note => note.textContent)"
    assert page.evaluate(notes) == ["80 % likely", "40 % likely"]
    server.captions = [caption("a dog", None), caption("a brown dog", None)]
    page.set_input_files("#file", picture(50, 50))
    page.wait_for_selector("#spoken:text-is('a dog')", state="attached")
    assert page.evaluate(notes) == ["", ""]
