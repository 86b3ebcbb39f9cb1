"""What tells one data set from another."""

from dataclasses import replace

from captionlab.data.records import CaptionRecord
from captionlab.data.summary import summarize
from captionlab.text.prompts import Prompt

RECORD = CaptionRecord(1, lambda: None, ("yes", "no"))


def test_another_question_with_the_same_answers_is_other_data():
    asked, other = (
        replace(RECORD, prompts=(Prompt(question=text),) * 2) for text in ("Is it?", "Was it?")
    )
    digests = {summarize([one])["digest"] for one in (RECORD, asked, other)}
    assert len(digests) == 3
    assert summarize([asked]) == summarize([replace(asked)])


def test_another_style_or_language_of_the_same_captions_is_other_data():
    asked = [replace(RECORD, prompts=(one,) * 2) for one in (Prompt(style="a"), Prompt(style="b"))]
    assert summarize(asked[:1])["digest"] != summarize(asked[1:])["digest"]
