"""Why a captioner wrote the words that it wrote: maps of each by several methods, and what they are worth.

T tokens of the caption, W words, S pixels a side.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.applications.explain.curves import Curves, deletion_insertion
from captionlab.applications.explain.gradients import integrated_gradients, smoothed
from captionlab.applications.explain.likelihood import CaptionLikelihood, gradients_of_pictures
from captionlab.applications.explain.occlusion import occlusion_maps
from captionlab.applications.explain.words import Word, chosen_words, words_of
from captionlab.core.errors import UserError, did_you_mean
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.models.captioner import Captioner
from captionlab.models.encoders.stored import StoredEncoder
from captionlab.text.prompts import NO_PROMPT, Prompt

Method = Literal["attention", "occlusion", "integrated_gradients"]
METHODS: tuple[Method, ...] = get_args(Method)
MOST_MASKS, MOST_STEPS = 100_000, 1_000


@dataclass(frozen=True)
class Settings:
    """How much work it is: ``masks`` of occlusion, ``steps`` of gradients, ``batch`` at a time."""

    masks: int = 500
    steps: int = 50
    batch: int = 32
    seed: int = 0
    curves: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.masks <= MOST_MASKS:
            raise UserError(f"--masks {self.masks} must be from 2 to {MOST_MASKS:,}")
        if not 1 <= self.steps <= MOST_STEPS:
            raise UserError(f"--steps {self.steps} must be from 1 to {MOST_STEPS:,}")


@dataclass(frozen=True)
class Saliency:
    """What a method says a word rests on: a map (S,S), more is more important, below 0 speaks against it.

    ``remark``: what else is known of it. ``curves``: None where they were not asked for.
    """

    method: str
    map: Tensor
    remark: str = ""
    curves: Curves | None = None

    @property
    def peak(self) -> tuple[float, float]:
        """The most important point: x and y as shares of the picture."""
        rows, columns = self.map.shape
        place = int(self.map.flatten().argmax())
        return (place % columns + 0.5) / columns, (place // columns + 0.5) / rows


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


def chosen_methods(name: str) -> tuple[Method, ...]:
    """Return the methods of a name, ``all`` for every one.

    Raises:
        UserError: if it is none.
    """
    if name == "all":
        return METHODS
    for method in METHODS:
        if name == method:
            return (method,)
    raise UserError(f"--method {name}: {did_you_mean(name, (*METHODS, 'all'))}")


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
    ) -> Explanation:
        """Return why the words of a caption.

        Args:
            picture: (3,S,S) uint8, as ``LoadedCaptioner.prepare`` returns it.
            word: which one, by itself or its number; None for all that say something.
            prompt: what is asked of the picture.
            caption: that is explained; None for the captioner's own.

        Raises:
            UserError: as ``chosen_words``, if only a method was asked for that this model has not, and
                for a caption with words that it does not know.
        """
        loaded = self.loaded
        tokens = self._own_tokens(picture, prompt) if caption is None else self._tokens(caption)
        words = words_of(tokens, loaded.tokenizer)
        chosen = chosen_words(words, word)
        likelihood = CaptionLikelihood(
            loaded.captioner,
            tokens[: max(one.end for one in chosen)],
            given=self._given(prompt),
            bos_id=loaded.tokenizer.bos_id,
            device=loaded.device,
        )
        maps, missing, seconds = self._maps(likelihood, picture, chosen)
        started = time.monotonic()
        with torch.inference_mode():
            ends = torch.stack([picture, torch.full_like(picture, 127)])
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
            seconds["deletion and insertion"] = time.monotonic() - started
        return Explanation(picture, loaded.tokenizer.decode(tokens), explained, missing, seconds)

    def _own_tokens(self, picture: Tensor, prompt: Prompt) -> list[int]:
        _, generated = self.loaded.generate(picture[None], prompt)
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

    def _given(self, prompt: Prompt) -> list[int]:
        tokenizer = self.loaded.tokenizer
        if tokenizer.languages and not prompt.language:  # as LoadedCaptioner writes
            prompt = replace(prompt, language=tokenizer.languages[0])
        return tokenizer.encode_prompt(prompt)

    def _maps(
        self, likelihood: CaptionLikelihood, picture: Tensor, chosen: Sequence[Word]
    ) -> tuple[dict[str, list[Saliency]], dict[str, str], dict[str, float]]:
        """Return each method's map of each word, why one has none, and how long each took."""
        explain: dict[Method, Callable[..., list[Saliency]]] = {
            "attention": self._attention,
            "occlusion": self._occlusion,
            "integrated_gradients": self._integrated_gradients,
        }
        maps: dict[str, list[Saliency]] = {}
        missing: dict[str, str] = {}
        seconds: dict[str, float] = {}
        for method in self.methods:
            started = time.monotonic()
            try:
                maps[method] = explain[method](likelihood, picture, chosen)
            except UserError as error:
                if len(self.methods) == 1:
                    raise
                missing[method] = str(error)
            seconds[method] = time.monotonic() - started
        return maps, missing, seconds

    @torch.inference_mode()
    def _attention(
        self, likelihood: CaptionLikelihood, picture: Tensor, chosen: Sequence[Word]
    ) -> list[Saliency]:
        weights = likelihood.steps(picture[None]).weights
        if weights is None:
            raise UserError("this model tells no attention to parts of a picture")
        slots = weights.shape[-1]
        side = math.isqrt(slots)
        if side < 2 or side**2 != slots:
            raise UserError(
                f"where the encoder's {slots} memory slots are is not known: they form no square grid"
            )
        grids = weights[0].float().cpu().unflatten(-1, (side, side))
        words = torch.stack([grids[word.first : word.end].mean(0) for word in chosen])
        size = picture.shape[-1]
        large = F.interpolate(words[:, None], size=(size, size), mode="bilinear")[:, 0]
        remark = f"{side} x {side} places"
        return [Saliency("attention", one, remark) for one in large]

    def _occlusion(
        self, likelihood: CaptionLikelihood, picture: Tensor, chosen: Sequence[Word]
    ) -> list[Saliency]:
        settings = self.settings
        maps = occlusion_maps(
            word_scores(likelihood, chosen),
            picture,
            masks=settings.masks,
            seed=settings.seed,
            batch=settings.batch,
        )
        return [Saliency("occlusion", one, f"{settings.masks:,} masks") for one in maps]

    def _integrated_gradients(
        self, likelihood: CaptionLikelihood, picture: Tensor, chosen: Sequence[Word]
    ) -> list[Saliency]:
        if not isinstance(likelihood.model, Captioner):
            raise UserError(
                "integrated gradients need the weights of a checkpoint, and an exported model has only "
                "its answers: say --method occlusion"
            )
        found = []
        with gradients_of_pictures(likelihood.model):
            for word in chosen:
                one = integrated_gradients(
                    _first_score(likelihood, word),
                    picture,
                    steps=self.settings.steps,
                    batch=max(1, self.settings.batch // 4),
                )
                remark = (
                    f"pixels sum up to {one.total + one.error:.2f} of {one.total:.2f} nats, "
                    f"{self.settings.steps} steps"
                )
                found.append(Saliency("integrated_gradients", smoothed(one.map), remark))
        return found

    def _with_curves(
        self, likelihood: CaptionLikelihood, picture: Tensor, word: Word, saliency: Saliency
    ) -> Saliency:
        if not self.settings.curves:
            return saliency
        score = _first_score(likelihood, word)
        curves = deletion_insertion(
            lambda pictures: score(pictures).exp(),
            picture,
            saliency.map,
            batch=self.settings.batch,
        )
        return replace(saliency, curves=curves)


def word_scores(likelihood: CaptionLikelihood, words: Sequence[Word]) -> Callable[[Tensor], Tensor]:
    """Return a function from pictures (B,3,S,S) to the log-probabilities (B,W) of words, in nats."""
    last = max(word.end for word in words)

    def score(pictures: Tensor) -> Tensor:
        log_probs = likelihood(pictures, last)
        return torch.stack([log_probs[:, w.first : w.end].sum(1) for w in words], 1)

    return score


def _first_score(likelihood: CaptionLikelihood, word: Word) -> Callable[[Tensor], Tensor]:
    score = word_scores(likelihood, [word])
    return lambda pictures: score(pictures)[:, 0]
