"""Why a captioner wrote the words that it wrote: maps of each by several methods, and what they are worth.

T tokens of the caption, W words, S pixels a side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from captionlab.applications.explain.curves import deletion_insertion
from captionlab.applications.explain.likelihood import CaptionLikelihood
from captionlab.applications.explain.methods import MAPS, word_score, word_scores
from captionlab.applications.explain.occlusion import GRAY
from captionlab.applications.explain.saliency import METHODS, Method, Saliency, Settings
from captionlab.applications.explain.words import Word, chosen_words, words_of
from captionlab.core.errors import UserError
from captionlab.decoding.captions import generate
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.models.encoders.stored import StoredEncoder
from captionlab.text.prompts import NO_PROMPT, Prompt

CURVES = "deletion and insertion"


@dataclass(frozen=True)
class WordExplanation:
    """A word, its place in the caption from 1, its probability, with the picture and with gray."""

    text: str
    place: int
    probability: float
    without: float
    saliencies: tuple[Saliency, ...]


@dataclass(frozen=True)
class Explanation:
    """A picture as the model sees it (3,S,S) uint8, its caption, and why its words.

    ``missing``: by method, in words, why it explains nothing. ``seconds``: by method.
    """

    picture: Tensor
    caption: str
    words: tuple[WordExplanation, ...]
    missing: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Explainer:
    """Explains captions of one captioner, all by the same methods and settings.

    Args:
        loaded: a trained captioner. methods: of ``METHODS``. settings: how much work it is.

    Raises:
        UserError: if the captioner looks at no pictures, or writes captions that it looked up.
    """

    def __init__(
        self,
        loaded: LoadedCaptioner,
        methods: Sequence[Method] = METHODS,
        settings: Settings | None = None,
    ) -> None:
        model: Any = loaded.captioner
        if isinstance(model.encoder, StoredEncoder):
            raise UserError(
                "this model reads stored features and looks at no picture, so no part of one can be "
                "hidden from it: explain a model with an encoder"
            )
        if not getattr(model.decoder, "learns", True):
            raise UserError(
                "this model looks captions up among those of its training images, and chooses no word "
                "by itself: its nearest images are its explanation"
            )
        self.loaded = loaded
        self.methods = tuple(methods)
        self.settings = settings or Settings()

    def __call__(
        self,
        picture: Tensor,
        *,
        word: str | None = None,
        prompt: Prompt = NO_PROMPT,
        caption: str | None = None,
        report: Callable[[str], object] = lambda part: None,
    ) -> Explanation:
        """Return why the words of a caption.

        Args:
            picture: (3,S,S) uint8, as ``LoadedCaptioner.prepare`` returns it.
            word: which one, by itself or its number; None for all that say something.
            prompt: what is asked of the picture.
            caption: that is explained; None for the captioner's own.
            report: is told each of ``parts`` when it begins.

        Raises:
            UserError: as ``chosen_words``, if only a method was asked for that this model has not, and
                for a caption with words that it does not know.
        """
        loaded = self.loaded
        with torch.inference_mode():
            memory, prompts = loaded.encode(picture.unsqueeze(0), [prompt])
            tokens = self._own_tokens(memory, prompts) if caption is None else self._tokens(caption)
        words = words_of(tokens, loaded.tokenizer)
        chosen = chosen_words(words, word)
        likelihood = CaptionLikelihood(
            loaded.captioner,
            tokens[: max(one.end for one in chosen)],
            given=prompts[0] if prompts else [],  # stays when parts of the picture are hidden
            bos_id=loaded.tokenizer.bos_id,
            device=loaded.device,
            look=loaded.folded,
        )
        maps, missing, seconds = self._maps(likelihood, picture, chosen, report)
        report(CURVES)
        started = time.monotonic()
        with torch.inference_mode():
            ends = torch.stack([picture, torch.full_like(picture, GRAY)])
            whole, gray = word_scores(likelihood, chosen)(ends).exp().tolist()
            explained = tuple(
                WordExplanation(
                    one.text,
                    words.index(one) + 1,
                    whole[row],
                    gray[row],
                    tuple(
                        self._with_curves(likelihood, picture, one, saliencies[row])
                        for saliencies in maps.values()
                    ),
                )
                for row, one in enumerate(chosen)
            )
        if self.settings.curves and maps:
            seconds[CURVES] = time.monotonic() - started
        return Explanation(picture, loaded.tokenizer.decode(tokens), explained, missing, seconds)

    @property
    def parts(self) -> tuple[str, ...]:
        """What is done for a picture, one after the other."""
        return (*self.methods, CURVES)

    def _own_tokens(self, memory: Any, prompts: list[list[int]] | None) -> list[int]:
        loaded = self.loaded
        _, generated = generate(loaded.model, memory, loaded.decoding, loaded.tokenizer, prompts)
        ids: list[int] = generated.tokens[0, 0, : int(generated.lengths[0, 0])].tolist()
        ids = [token for token in ids if token != self.loaded.tokenizer.eos_id]
        if not ids:
            raise UserError(
                "the captioner wrote an empty caption, of which nothing can be explained"
            )
        return ids

    def _tokens(self, caption: str) -> list[int]:
        tokenizer = self.loaded.tokenizer
        ids = tokenizer.encode(caption)
        if not ids or tokenizer.unk_id in ids:
            raise UserError(f"the captioner does not know all words of {caption!r}")
        return ids

    def _maps(
        self,
        likelihood: CaptionLikelihood,
        picture: Tensor,
        chosen: Sequence[Word],
        report: Callable[[str], object],
    ) -> tuple[dict[str, list[Saliency]], dict[str, str], dict[str, float]]:
        """Return each method's map of each word, why one has none, and how long each took."""
        maps: dict[str, list[Saliency]] = {}
        missing: dict[str, str] = {}
        seconds: dict[str, float] = {}
        for method in self.methods:
            report(method)
            started = time.monotonic()
            try:
                maps[method] = MAPS[method](likelihood, picture, chosen, self.settings)
            except UserError as error:
                if len(self.methods) == 1:
                    raise
                missing[method] = str(error)
            seconds[method] = time.monotonic() - started
        return maps, missing, seconds

    def _with_curves(
        self, likelihood: CaptionLikelihood, picture: Tensor, word: Word, saliency: Saliency
    ) -> Saliency:
        if not self.settings.curves:
            return saliency
        score = word_score(likelihood, word)
        curves = deletion_insertion(
            lambda pictures: score(pictures).exp(),
            picture,
            saliency.map,
            batch=self.settings.batch,
        )
        return replace(saliency, curves=curves)
