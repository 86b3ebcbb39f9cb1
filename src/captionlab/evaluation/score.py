"""Scores of any captions, from wherever they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from captionlab.core.errors import UserError
from captionlab.data.records import CaptionRecord
from captionlab.evaluation.groups import groups_of, meteor_processes
from captionlab.metrics.meteor import Meteor
from captionlab.metrics.own_scores import OwnScores
from captionlab.metrics.split_scorer import Known, Scores, SplitScorer, Truth
from captionlab.metrics.wordnet import noun_similarity
from captionlab.text.prompts import NO_PROMPT, Prompt
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
        return _scores(captions, references, language, jar, answers=answers).corpus
    finally:
        if jar is not None:
            jar.close()


def score_records(
    records: Sequence[CaptionRecord],
    captions: Mapping[ImageId, str],
    *,
    language: str,
    meteor: bool,
    truth: Truth | None = None,
    training: Callable[[], Iterable[CaptionRecord]] | None = None,
    prompts: Mapping[ImageId, Prompt] = MappingProxyType({}),
    own: OwnScores | None = None,
) -> Scores:
    """Return all scores of captions of a split, those of a checkpoint but for its likelihood.

    Those of each language and each style that is asked for stand beside them.

    Args:
        records: the split. captions: one for each of its images.
        language: of the data. meteor: whether METEOR is added where it knows the language.
        truth: as of ``SplitScorer``. training: reads the training split, for the share of captions
            that it has not; None where there is none. prompts: what is given before captions.
        own: scores that the data set brings along.

    Raises:
        UserError: for an image without a caption or a reference, and for another language.
    """
    references: dict[ImageId, tuple[str, ...]] = {}
    for record in records:
        references.setdefault(record.image_id, record.captions)
    known = None if training is None else _KnownTexts(training, language)
    languages = sorted({one.language for one in prompts.values() if one.language})
    styles = sorted({one.style for one in prompts.values() if one.style})
    jars = meteor_processes((language, *languages) if meteor else ())
    groups = groups_of(
        languages,
        styles,
        language=language,
        prompt=lambda image_id: prompts.get(image_id, NO_PROMPT),
        meteor=jars,
    )
    answers = any(one.question for one in prompts.values())
    try:
        scores = _scores(
            captions, references, language, jars.get(language), truth, known, answers, own
        )
        for group in groups:
            scores.corpus.update(group.scores(scores, references))
    finally:
        for jar in jars.values():
            jar.close()
    return scores


class _KnownTexts:
    """Tells whether a training image has a caption, by its scored tokens; reads them when first asked."""

    def __init__(self, training: Callable[[], Iterable[CaptionRecord]], language: str) -> None:
        self._training, self._tokenize = training, scoring_tokenizer(language)
        self._texts: set[str] | None = None

    def __call__(self, caption: str) -> bool:
        """Return whether a training image has this caption; ``caption`` in tokens, one blank between."""
        if self._texts is None:
            self._texts = {
                " ".join(self._tokenize(text))
                for record in self._training()
                for text in record.captions
            }
        return caption in self._texts


def _scores(
    captions: Mapping[ImageId, str],
    references: Mapping[ImageId, Sequence[str]],
    language: str,
    jar: Meteor | None,
    truth: Truth | None = None,
    known: Known | None = None,
    answers: bool = False,
    own: OwnScores | None = None,
) -> Scores:
    scorer = SplitScorer(
        references,
        scoring_tokenizer(language),
        meteor=jar,
        truth=truth,
        known=known,
        answers=answers,
        similarity=noun_similarity(language) if answers else None,
        own=own,
    )
    return scorer(captions)
