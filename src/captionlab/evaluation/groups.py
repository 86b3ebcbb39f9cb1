"""The groups of a split that are scored by themselves: each language and each style that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from captionlab.metrics.groups import Group
from captionlab.metrics.meteor import METEOR_LANGUAGES, Meteor
from captionlab.metrics.references import ImageId
from captionlab.text.prompts import Prompt
from captionlab.text.scoring import scoring_tokenizer

MOST_STYLES = 20  # beyond it, of authors say, a table of each one's scores helps nobody


def meteor_processes(languages: Iterable[str]) -> dict[str, Meteor]:
    """Return a METEOR process for each language that it knows; they start when they are asked."""
    return {one: Meteor(language=one) for one in sorted({*languages} & {*METEOR_LANGUAGES})}


def groups_of(
    languages: Iterable[str],
    styles: Iterable[str],
    *,
    language: str,
    prompt: Callable[[ImageId], Prompt],
    meteor: Mapping[str, Meteor],
) -> list[Group]:
    """Return the groups of a split: each language, and each style where there are few of them.

    Args:
        languages, styles: that captions are asked for in. language: of the data, and so of its styles.
        prompt: image id -> what is given before its caption. meteor: processes by language.

    Raises:
        UserError: for a language without a scoring rule.
    """

    def group(name: str, of: str) -> Group:
        return Group(
            name,
            scoring_tokenizer(of),
            holds=lambda image_id: name in (prompt(image_id).language, prompt(image_id).style),
            meteor=meteor.get(of),
        )

    styles = list(styles)
    own = [group(one, one) for one in languages]
    return own if len(styles) > MOST_STYLES else own + [group(style, language) for style in styles]
