"""Which parts of a split are scored by themselves."""

from captionlab.evaluation.groups import MOST_STYLES, groups_of
from captionlab.text.prompts import NO_PROMPT


def names(languages: int, styles: int) -> list[str]:
    groups = groups_of(
        ["en", "zh", "de"][:languages],
        [f"author {number}" for number in range(styles)],
        language="en",
        prompt=lambda image_id: NO_PROMPT,
        meteor={},
    )
    return [group.name for group in groups]


def test_each_language_and_each_of_a_few_styles_is_a_group():
    assert names(2, 2) == ["en", "zh", "author 0", "author 1"]
    assert len(names(0, MOST_STYLES)) == MOST_STYLES


def test_many_authors_are_no_groups():
    assert names(2, MOST_STYLES + 1) == ["en", "zh"]
