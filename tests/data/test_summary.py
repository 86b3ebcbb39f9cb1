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
