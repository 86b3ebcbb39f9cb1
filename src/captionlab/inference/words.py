"""Captions word by word: how probable the model finds each word, and where it looked for it.

Legend: B images, W captions an image, T tokens, N memory slots, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captionlab.decoding.captions import Decoding, TokenIds, generate
from captionlab.decoding.generated import Generated
from captionlab.decoding.prompted import Prompted, by_length
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.text.prompts import Prompt
from captionlab.text.scoring import CJK

# a word as readers see it: a run without spaces, but each character of a script that has none
_WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]+")


@dataclass(frozen=True)
class Word:
    """A word of a caption.

    ``confidence``: the model's own probability of it, given the image and all words before it; 1 for
    a word that was given. ``attention`` (n,n): the part of the attention that each cell of the
    picture had, None where the model does not look at a grid, or the word was given.
    """

    text: str
    confidence: float
    attention: Tensor | None = None
    given: bool = False


@dataclass(frozen=True)
class WordedCaption:
    """A caption with what decoding found, and its words.

    ``length`` counts tokens, the end token included; ``complete`` says whether there is one.
    """

    text: str
    score: float
    log_prob: float
    length: int
    complete: bool
    words: tuple[Word, ...]


@torch.inference_mode()
def worded_captions(
    loaded: LoadedCaptioner,
    images: Tensor,
    prompts: Sequence[Prompt],
    decoding: Decoding | None = None,
    noise: Tensor | None = None,
) -> list[list[WordedCaption]]:
    """Return the captions of each prepared image with their words, best first.

    Args:
        loaded: the captioner. images: (B,3,size,size) uint8.
        prompts: one an image; all are decoded together.
        decoding: the method, None for the captioner's own. noise: as ``Sampling`` takes it.

    Raises:
        UserError: for what the captioner did not learn.
    """
    return captions_of_memory(loaded, *loaded.encode(images, prompts), prompts, decoding, noise)


@torch.inference_mode()
def captions_of_memory(
    loaded: LoadedCaptioner,
    memory: Any,
    given: Sequence[Sequence[int]] | None,
    prompts: Sequence[Prompt],
    decoding: Decoding | None = None,
    noise: Tensor | None = None,
) -> list[list[WordedCaption]]:
    """Return ``worded_captions`` of images that ``LoadedCaptioner.encode`` has seen already."""
    beginnings = [loaded.tokenizer.encode(prompt.beginning) for prompt in prompts]
    model = loaded.model
    method = decoding or loaded.decoding
    _, generated = generate(model, memory, method, loaded.tokenizer, given, noise)
    log_probs = token_log_probs(model, memory, generated.tokens, loaded.tokenizer, given)
    return [
        list(_captions_of(generated, log_probs, image, loaded.tokenizer, beginning))
        for image, beginning in enumerate(beginnings)
    ]


@torch.inference_mode()
def token_log_probs(
    model: Any,
    memory: Any,
    tokens: Tensor,
    tokenizer: TokenIds,
    prompts: Sequence[Sequence[int]] | None = None,
) -> Tensor:
    """Return the model's log-probability (B,W,T) of each token, given the ones before it.

    Any ``StepModel`` will do: the captions are read once more, whatever method wrote them. What
    stands at places behind the end token means nothing.

    Args:
        memory: of the images. tokens: (B,W,T), without bos. prompts: ids given before each image's.
    """
    empty: list[Sequence[int]] = [()] * len(tokens)
    read = torch.zeros(tokens.shape, device=tokens.device)
    for images, given in by_length(prompts or empty, tokens.device):
        prompted = Prompted(model, given, tokenizer.bos_id) if given.shape[1] else model
        some = tokens[images]
        state = prompted.init_state(memory.take(images), tokens.shape[1])
        before = torch.full(some.shape[:2], tokenizer.bos_id, device=tokens.device)
        for step, token in enumerate(some.unbind(2)):
            logits, state = prompted.step(before, state)
            logits = logits.float()
            chosen = logits.gather(-1, token[..., None]).squeeze(-1)
            read[images, :, step] = chosen - logits.logsumexp(-1)
            before = token.contiguous()
    return read


def _captions_of(
    generated: Generated, log_probs: Tensor, image: int, tokenizer: TokenIds, beginning: list[int]
) -> Iterator[WordedCaption]:
    for place, length in enumerate(generated.lengths[image].tolist()):
        if length == 0:
            continue
        ids = generated.tokens[image, place, :length].tolist()
        complete = ids[-1] == tokenizer.eos_id
        own = ids[:-1] if complete else ids
        weights = None
        if generated.weights is not None:
            weights = as_grids(generated.weights[image, place, : len(own)])
        yield WordedCaption(
            tokenizer.decode([*beginning, *own]),
            float(generated.scores[image, place]),
            float(generated.log_probs[image, place]),
            length,
            complete,
            tuple(_words(tokenizer, beginning, own, log_probs[image, place].tolist(), weights)),
        )


def _words(
    tokenizer: TokenIds,
    beginning: list[int],
    own: list[int],
    log_probs: list[float],
    grids: Tensor | None,
) -> Iterator[Word]:
    first = len(beginning)
    for text, places in word_tokens(tokenizer, [*beginning, *own]):
        written = [place - first for place in places if place >= first]
        if not written:
            yield Word(text, 1.0, given=True)
            continue
        confidence = math.exp(min(0.0, sum(log_probs[place] for place in written)))
        attention = None if grids is None else grids[written].mean(0)
        yield Word(text, confidence, attention)


def word_tokens(tokenizer: TokenIds, ids: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Return the words of token ids, each with the places of its tokens; every token is of one word.

    Pieces of a word are together, characters of scripts without spaces apart. The words stand in the
    caption in this order. Tokens that show nothing by themselves, such as a byte of a character,
    belong to the word they lead to.
    """
    text = tokenizer.decode(ids)
    starts = _token_starts(tokenizer, ids, text)
    # a token that spans several words makes them one
    edges = [m.start() for m in _WORD.finditer(text) if m.start() in starts]
    words = []
    for number, edge in enumerate(edges):
        end = edges[number + 1] if number + 1 < len(edges) else len(text)
        first = edge if number else 0
        places = [place for place, start in enumerate(starts) if first <= start < end]
        words.append((text[edge:end].strip(), places))
    return words


def _token_starts(tokenizer: TokenIds, ids: Sequence[int], text: str) -> list[int]:
    """Return where in the text each token's first letter stands; the end of it for one without any."""
    starts = []
    position = 0
    for count in range(1, len(ids) + 1):
        while position < len(text) and text[position].isspace():
            position += 1
        starts.append(position)
        # what is decoded of the first tokens may differ from the whole in its last letters
        position = max(position, _common_length(tokenizer.decode(ids[:count]), text))
    last = len(text.rstrip()) - 1
    return [min(start, max(0, last)) for start in starts]


def _common_length(text: str, other: str) -> int:
    """Return how many first letters two texts share."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(text), len(other)))


def as_grids(weights: Tensor) -> Tensor | None:
    """Return attention (T,N) over a square grid of the picture as (T,n,n), None for other slots."""
    slots = weights.shape[-1]
    side = math.isqrt(slots)
    if side < 2 or side**2 != slots:
        return None
    return weights.float().unflatten(-1, (side, side)).cpu()
