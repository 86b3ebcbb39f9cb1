"""The methods: each gives a map of every word, of the log-probability that it has in its caption.

W words, S pixels a side, B pictures, N memory slots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.applications.explain.gradients import integrated_gradients, smoothed
from captionlab.applications.explain.likelihood import CaptionLikelihood, gradients_of_pictures
from captionlab.applications.explain.occlusion import occlusion_maps
from captionlab.applications.explain.saliency import Method, Saliency, Settings
from captionlab.applications.explain.words import Word
from captionlab.core.errors import UserError
from captionlab.inference.words import as_grids
from captionlab.models.captioner import Captioner


@torch.inference_mode()
def attention(
    likelihood: CaptionLikelihood, picture: Tensor, words: Sequence[Word], settings: Settings
) -> list[Saliency]:
    """Return where the model looked for each word, the mean over its tokens.

    Raises:
        UserError: if it does not tell, or its slots form no grid.
    """
    weights = likelihood.steps(picture[None]).weights
    if weights is None:
        raise UserError("this model tells no attention to parts of a picture")
    grids = as_grids(weights[0])
    if grids is None:
        slots = weights.shape[-1]
        raise UserError(
            f"where the encoder's {slots} memory slots are is not known: they form no square grid"
        )
    side = grids.shape[-1]
    maps = torch.stack([grids[word.first : word.end].mean(0) for word in words])
    large = F.interpolate(maps[:, None], size=picture.shape[-2:], mode="bilinear")[:, 0]
    return [Saliency("attention", one, f"{side} x {side} places") for one in large]


def occlusion(
    likelihood: CaptionLikelihood, picture: Tensor, words: Sequence[Word], settings: Settings
) -> list[Saliency]:
    """Return what random masks tell of each word; all words share the masks."""
    maps = occlusion_maps(
        word_scores(likelihood, words),
        picture,
        masks=settings.masks,
        seed=settings.seed,
        batch=settings.batch,
    )
    return [Saliency("occlusion", one, f"{settings.masks:,} masks") for one in maps]


def gradients(
    likelihood: CaptionLikelihood, picture: Tensor, words: Sequence[Word], settings: Settings
) -> list[Saliency]:
    """Return the integrated gradients of each word, smoothed.

    Raises:
        UserError: for an exported model, and without captum.
    """
    if not isinstance(likelihood.model, Captioner):
        raise UserError(
            "integrated gradients need the weights of a checkpoint, and an exported model has only "
            "its answers: say --method occlusion"
        )
    found = []
    with gradients_of_pictures(likelihood.model):
        for word in words:
            one = integrated_gradients(
                word_score(likelihood, word),
                picture,
                steps=settings.steps,
                batch=max(1, settings.batch // 4),
            )
            remark = (
                f"pixels sum up to {one.total + one.error:.2f} of {one.total:.2f} nats, "
                f"{settings.steps} steps"
            )
            found.append(Saliency("integrated_gradients", smoothed(one.map), remark))
    return found


MAPS: Mapping[Method, Callable[..., list[Saliency]]] = {
    "attention": attention,
    "occlusion": occlusion,
    "integrated_gradients": gradients,
}


def word_scores(likelihood: CaptionLikelihood, words: Sequence[Word]) -> Callable[[Tensor], Tensor]:
    """Return a function from pictures (B,3,S,S) to the log-probabilities (B,W) of words, in nats."""
    last = max(word.end for word in words)

    def score(pictures: Tensor) -> Tensor:
        log_probs = likelihood(pictures, last)
        return torch.stack([log_probs[:, w.first : w.end].sum(1) for w in words], 1)

    return score


def word_score(likelihood: CaptionLikelihood, word: Word) -> Callable[[Tensor], Tensor]:
    """Return the same of one word: (B,)."""
    scores = word_scores(likelihood, [word])
    return lambda pictures: scores(pictures)[:, 0]
