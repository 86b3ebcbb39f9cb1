"""Scores of a part of a split: of the captions in one language, of one style."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import fsum

from captionlab.metrics.meteor import Meteor
from captionlab.metrics.references import ImageId, Tokenize
from captionlab.metrics.split_scorer import Scores, SplitScorer


@dataclass
class Group:
    """The captions under one name; their scores are logged as ``NAME/cider`` and so on.

    Args:
        name: of the group. tokenize: of its captions and references. meteor: a METEOR process of its
            language, None for none. holds: image id -> whether it belongs to the group.
    """

    name: str
    tokenize: Tokenize
    holds: Callable[[ImageId], bool]
    meteor: Meteor | None = None
    _prepared: tuple[dict[ImageId, tuple[str, ...]], SplitScorer] | None = field(
        default=None, init=False
    )

    def names(self, of_all: Collection[str]) -> set[str]:
        """Return the names of the group's scores, where those of the whole split are ``of_all``."""
        names = {*of_all, *({"meteor"} if self.meteor is not None else ())}
        return {f"{self.name}/{name}" for name in names if name not in OF_THE_WHOLE}

    def scores(
        self, whole: Scores, references: Mapping[ImageId, tuple[str, ...]]
    ) -> dict[str, float]:
        """Return the group's corpus scores; none where no image belongs to it.

        What a score of n-grams is follows from the group's own references: its document frequencies
        and lengths. What is judged caption by caption, such as truth, is the mean over the group.
        """
        own = {i: texts for i, texts in references.items() if self.holds(i)}
        if not own:
            return {}
        if self._prepared is None or self._prepared[0] != own:
            self._prepared = own, SplitScorer(own, self.tokenize, meteor=self.meteor)
        corpus = self._prepared[1]({i: whole.captions[i] for i in own}).corpus
        judged = {name for i in own for name in whole.per_image[i]} - corpus.keys()
        # CIDEr of a group of one image has no document frequencies of its own: it is left out
        for name in judged & whole.corpus.keys() - {"cider", "meteor"}:
            values = [whole.per_image[i][name] for i in own if name in whole.per_image[i]]
            corpus[name] = fsum(values) / len(values)
        return {f"{self.name}/{name}": value for name, value in corpus.items()}


# of all captions of a split, or of several captions an image: they are not computed for its groups
OF_THE_WHOLE = frozenset(
    (
        *("loss", "novel", "tags_map", "div_1", "div_2", "mbleu"),
        *("self_cider", "oracle_cider", "average_cider", "balance"),
    )
)
