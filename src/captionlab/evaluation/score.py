"""Scores of any captions, from wherever they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captionlab.core.errors import UserError
from captionlab.metrics.meteor import Meteor
from captionlab.metrics.split_scorer import SplitScorer
from captionlab.metrics.wordnet import noun_similarity
from captionlab.text.scoring import scoring_tokenizer

ImageId = int | str


def score(
    captions: Mapping[ImageId, str],
    references: Mapping[ImageId, Sequence[str]],
    *,
    language: str = "en",
    meteor: bool = False,
    answers: bool = False,
) -> dict[str, float]:
    """Return BLEU-1 to 4, ROUGE-L, CIDEr and more of captions, on coco-caption's scale (1.0: 100 %).

    Args:
        captions: one for each image. references: what people wrote about it, one or more.
        language: whose tokens are counted: en (words), zh (characters).
        meteor: whether METEOR is added, which needs Java.
        answers: whether these are answers, one for each question instead of each image: exact match
            and VQA's accuracy are added, and WUPS where the language is en and WordNet is there.

    Raises:
        UserError: for an image without a caption or a reference, and for another language.
    """
    single = next((i for i, texts in references.items() if isinstance(texts, str)), None)
    if single is not None:
        raise UserError(f"references[{single!r}] is one text: give a list of captions")
    jar = Meteor(language="en" if language == "en" else "other") if meteor else None
    try:
        tokenize = scoring_tokenizer(language)
        similarity = noun_similarity(language) if answers else None
        scorer = SplitScorer(
            references, tokenize, meteor=jar, answers=answers, similarity=similarity
        )
        scores = scorer(captions)
    finally:
        if jar is not None:
            jar.close()
    return scores.corpus
