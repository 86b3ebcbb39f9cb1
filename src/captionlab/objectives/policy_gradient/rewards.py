"""How good a sampled caption is: scores of token ids against the training references.

Legend: B images, K captions an image, T tokens, C captions to reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.decoding.generated import Generated
from captionlab.metrics.cider import CiderD
from captionlab.metrics.meteor import METEOR_LANGUAGES, Meteor
from captionlab.metrics.ngrams import RougeL, bleu
from captionlab.metrics.references import Candidates, ImageId, PreparedReferences


@dataclass(frozen=True)
class TrainingText:
    """What rewards know of the training split.

    Args:
        references: token ids of each image's captions, the end token included.
        decode: ids -> text. tokenize: text -> the words that are scored.
        truth: (image id, caption) -> whether all that it says holds, where the data can tell.
        captions_per_image: how many of an image's captions a batch holds; None for all.
        language: of the captions, such as "en".
        counted: the references' n-grams where another process has counted them; None counts here.
    """

    references: Mapping[ImageId, Sequence[Sequence[int]]]
    decode: Callable[[Sequence[int]], str]
    tokenize: Callable[[str], list[str]]
    truth: Callable[[ImageId, str], bool] | None = None
    captions_per_image: int | None = None
    language: str = "en"
    counted: PreparedReferences | None = None

    @cached_property
    def prepared(self) -> PreparedReferences:
        """The references, counted once; a token's number is its word."""
        if self.counted is not None:
            return self.counted
        texts = {i: [_words(caption) for caption in c] for i, c in self.references.items()}
        return PreparedReferences(texts, str.split)

    @cached_property
    def words(self) -> dict[ImageId, list[str]]:
        """The references of each image as scored words, joined by spaces."""
        return {
            image: [" ".join(self.tokenize(self.decode(ids))) for ids in captions]
            for image, captions in self.references.items()
        }


class Reward:
    """A weighted sum of scores, each of one caption against its image's training references.

    ``cider`` is CIDEr-D (Vedantam et al. 2015) with the document frequencies of the training
    references, ``bleu_4`` and ``rouge_l`` coco-caption's of a single caption; the three read token
    ids, the end token among them, so that a caption cut short costs (Rennie et al. 2017). ``meteor``
    needs Java and text; ``truth`` is 1 where the built-in data says that the caption is true. Weight
    0 leaves a score out. UserError for no weight at all, and where a score cannot be had.
    """

    def __init__(
        self,
        *,
        cider: float = 0.0,
        bleu_4: float = 0.0,
        rouge_l: float = 0.0,
        meteor: float = 0.0,
        truth: float = 0.0,
    ) -> None:
        weights = {
            "cider": cider,
            "bleu_4": bleu_4,
            "rouge_l": rouge_l,
            "meteor": meteor,
            "truth": truth,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if not self.weights:
            raise UserError(
                "objective.reward has no weight: say objective/reward=cider, or "
                "objective.reward.cider=1"
            )
        self._meteor: Meteor | None = None

    def prepare(self, text: TrainingText) -> None:
        """Count the references once.

        Raises:
            UserError: if a score cannot be had for this data or on this machine.
        """
        self.text = text
        if "truth" in self.weights and text.truth is None:
            raise UserError(
                "objective.reward.truth: only the built-in data knows what is true; say "
                "objective/reward=cider, or data=shapes"
            )
        if "meteor" in self.weights:
            if text.language not in METEOR_LANGUAGES:
                raise UserError(
                    f"objective.reward.meteor: METEOR knows stems of {' and '.join(METEOR_LANGUAGES)}, the "
                    f"captions are in {text.language!r}; say objective/reward=cider"
                )
            self._meteor = Meteor(language=text.language)
            self._meteor.start()
            if not self._meteor.available:
                raise UserError(
                    "objective.reward.meteor needs Java, which this machine lacks: install a Java "
                    "runtime, or say objective/reward=cider"
                )
        self._cider = CiderD(text.prepared) if "cider" in self.weights else None
        self._rouge = RougeL(text.prepared) if "rouge_l" in self.weights else None

    def __call__(
        self, image_ids: Sequence[ImageId], captions: Sequence[Sequence[int]]
    ) -> dict[str, np.ndarray]:
        """Return the scores (C,) by name, and under ``reward`` their weighted sum.

        Args:
            image_ids: of each caption. captions: ids without bos and padding, with eos where the
                caption ended.
        """
        prepared = self.text.prepared
        rows = prepared.rows(image_ids)
        candidates = prepared.tokenized_candidates(rows, [_words(ids).split() for ids in captions])
        scores = {name: self._score(name, image_ids, captions, candidates) for name in self.weights}
        total = sum(self.weights[name] * score for name, score in scores.items())
        return {**scores, "reward": np.asarray(total)}

    def document_frequencies(self) -> dict[str, np.ndarray]:
        """Return in how many images' references each n-gram stands, as CIDEr-D weighs it.

        ``images`` () is their number; ``grams_n`` (G,n) token ids and ``counts_n`` (G,) for n = 1
        to 4.
        """
        prepared = self.text.prepared
        words = np.array([int(word) for word in prepared.vocabulary], dtype=np.int32)
        frequencies: dict[str, np.ndarray] = {"images": np.array(len(prepared))}
        grams = np.zeros((1, 0), dtype=np.int32)
        for n, index in enumerate(prepared.orders, 1):
            prefix, last = np.divmod(index.keys, max(len(words), 1))
            grams = np.column_stack([grams[prefix], words[last]])
            frequencies |= {f"grams_{n}": grams, f"counts_{n}": index.document_frequency}
        return frequencies

    def _score(
        self,
        name: str,
        image_ids: Sequence[ImageId],
        captions: Sequence[Sequence[int]],
        candidates: Candidates,
    ) -> np.ndarray:
        if self._cider is not None and name == "cider":
            return self._cider(candidates)
        if self._rouge is not None and name == "rouge_l":
            return self._rouge(candidates)
        if name == "bleu_4":
            return bleu(self.text.prepared, candidates)[1][:, 3]
        texts = [self.text.decode(ids) for ids in captions]
        if name == "meteor":
            return self._meteor_scores(image_ids, texts)
        truth = self.text.truth
        assert truth is not None  # prepare asked for it
        return np.array([float(truth(i, text)) for i, text in zip(image_ids, texts, strict=True)])

    def _meteor_scores(self, image_ids: Sequence[ImageId], texts: Sequence[str]) -> np.ndarray:
        assert self._meteor is not None  # prepare made it
        words = [" ".join(self.text.tokenize(text)) for text in texts]
        scores = self._meteor.score(words, [self.text.words[i] for i in image_ids])
        if scores is None:
            raise UserError(
                "objective.reward.meteor: METEOR's process ended; the message above says why"
            )
        return np.asarray(scores[1])


class HasImageIds(Protocol):
    """What is scored: a batch, or what its prompts ask."""

    @property
    def image_ids(self) -> Sequence[ImageId]:
        """The ids under which the references stand, one an image."""


def score_samples(reward: Reward, batch: HasImageIds, captions: Generated) -> dict[str, Tensor]:
    """Return each score (B,K) of captions of a batch's images, on the captions' device."""
    width = captions.tokens.shape[1]
    ids = [image_id for image_id in batch.image_ids for _ in range(width)]
    scores = reward(ids, token_lists(captions.tokens, captions.lengths))
    device = captions.tokens.device
    return {
        name: torch.as_tensor(values, dtype=torch.float32, device=device).view(-1, width)
        for name, values in scores.items()
    }


def token_lists(tokens: Tensor, lengths: Tensor) -> list[list[int]]:
    """Return captions (B,K,T) as lists of ids, image by image, without what follows their end."""
    rows = tokens.flatten(0, 1).tolist()
    return [row[:length] for row, length in zip(rows, lengths.flatten().tolist(), strict=True)]


def _words(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
