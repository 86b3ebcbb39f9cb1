"""Greedy captions, samples and beam search as ImageCaptioning.pytorch does them, written anew.

From its public code (captioning/models/AttModel.py and CaptionModel.py, 4c48a33): its beam search
goes on to the last step, keeps the log-probabilities of all words of all steps, which it copies as
beams change places, sorts all extensions of an image, and takes finished captions out in Python.

Legend: B images, W beams, R = B W, T tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rivals.ic_models import ImageCaptioning, State, repeated

DONE = 1000.0  # what is taken off a beam that has ended


def write(
    model: ImageCaptioning, slots: Tensor, *, samples: int = 1, greedy: bool
) -> tuple[Tensor, Tensor]:
    """Return captions (R,T), drawn or the most probable words, and all log-probabilities (R,T,V)."""
    rows = len(slots) * samples
    model.written = 0
    state = model.init_state(rows)
    prepared = repeated(model.prepare(slots), samples)
    captions = slots.new_full((rows, model.steps), model.pad, dtype=torch.long)
    all_log_probs = slots.new_zeros(rows, model.steps, model.vocabulary)
    word = slots.new_full((rows,), model.bos, dtype=torch.long)
    unfinished = torch.ones_like(word).bool()
    # like its loop, one step more than is needed
    for step in range(model.steps + 1):
        log_probs, state = model.log_probs(word, prepared, state)
        if step == model.steps:
            break
        if greedy:
            _, word = torch.max(log_probs.data, 1)
        else:
            word = torch.distributions.Categorical(logits=log_probs.detach()).sample()
            log_probs.gather(1, word.unsqueeze(1))
        if step == 0:
            unfinished = word != model.eos
        else:
            word[~unfinished] = model.pad
            log_probs = log_probs * unfinished.unsqueeze(1).to(log_probs)
            unfinished = unfinished & (word != model.eos)
        captions[:, step] = word
        all_log_probs[:, step] = log_probs
        if unfinished.sum() == 0:
            break
    return captions, all_log_probs


class Beams:
    """The beams of all images: words (B,W,t), log-probabilities of all words, sums (B,W), state."""

    def __init__(self, images: int, size: int, vocabulary: int, state: State, like: Tensor) -> None:
        self.size = size
        self.words = torch.empty(images, size, 0, dtype=torch.long, device=like.device)
        self.log_probs = like.new_empty(images, size, 0, vocabulary)
        self.sums = like.new_zeros(images, size)
        self.state = [part.clone() for part in state]

    def extend(self, log_probs: Tensor, kept: Tensor) -> None:
        """Take the best extensions by ``log_probs`` (R,V); ``kept`` are those that are kept."""
        images, vocabulary = len(self.sums), log_probs.shape[-1]
        log_probs = log_probs.reshape(images, -1, vocabulary)
        before = self.sums[:, :1] if self.words.shape[-1] == 0 else self.sums
        candidates = (before.unsqueeze(-1) + log_probs).reshape(images, -1)
        sums, order = torch.sort(candidates, -1, True)
        sums, order = sums[:, : self.size], order[:, : self.size]
        parents, words = order // vocabulary, order % vocabulary
        first = torch.arange(images, device=parents.device).unsqueeze(-1) * log_probs.shape[1]
        rows = (parents + first).reshape(-1)
        if self.words.shape[-1]:
            moved = self.words.gather(1, parents.unsqueeze(-1).expand_as(self.words))
            assert (moved == self.words.flatten(0, 1)[rows].view_as(moved)).all()
            self.words = moved
            index = parents[..., None, None].expand_as(self.log_probs)
            self.log_probs = self.log_probs.gather(1, index)
        self.words = torch.cat([self.words, words.unsqueeze(-1)], -1)
        self.sums = before.expand(-1, log_probs.shape[1]).gather(1, parents)
        self.sums = self.sums + log_probs.reshape(images, -1).gather(1, order)
        assert (self.sums == sums).all()
        again = kept[rows].reshape(images, -1, vocabulary)
        index = parents.unsqueeze(-1).expand(-1, -1, vocabulary)
        kept = kept.reshape(images, -1, vocabulary).gather(1, index)
        assert (again == kept).all()
        self.log_probs = torch.cat([self.log_probs, kept.unsqueeze(2)], 2)
        self.state = [part[:, rows] for part in self.state]


Finished = list[tuple[float, Tensor, Tensor, float]]


@torch.no_grad()
def beam_search(model: ImageCaptioning, slots: Tensor, size: int) -> list[Tensor]:
    """Return the best caption of each image, end token and what follows it included."""
    images = len(slots)
    model.written = 0
    prepared = model.prepare(slots)
    captions = slots.new_full((images, model.steps), model.pad, dtype=torch.long)
    all_log_probs = slots.new_zeros(images, model.steps, model.vocabulary)
    word = slots.new_full((images,), model.bos, dtype=torch.long)
    log_probs, state = model.log_probs(word, prepared, model.init_state(images))
    prepared = repeated(prepared, size)
    beams = Beams(images, size, model.vocabulary, state, log_probs)
    log_probs = log_probs.clone()
    finished: list[Finished] = [[] for _ in range(images)]
    for step in range(model.steps):
        # its diverse groups cost a copy even where there is one of them
        beams.extend(log_probs, log_probs.clone())
        for image in range(images):
            _take_finished(model, beams, image, step, finished[image])
        word = beams.words[:, :, step].reshape(-1)
        log_probs, beams.state = model.log_probs(word, prepared, beams.state)
        log_probs = F.log_softmax(log_probs, dim=-1)
    best = [sorted(one, key=lambda caption: -caption[0])[:size] for one in finished]
    for image in range(images):
        _, words, kept, _ = best[image][0]
        captions[image, : len(words)] = words
        all_log_probs[image, : len(words)] = kept
    return list(captions)


def _take_finished(
    model: ImageCaptioning, beams: Beams, image: int, step: int, finished: Finished
) -> None:
    ended = beams.words[image, :, step] == model.eos
    if step == model.steps - 1:
        ended.fill_(True)
    for place in range(beams.size):
        if ended[place]:
            kept = beams.log_probs[image, place].clone()
            whole = beams.log_probs[image, place].sum().item()
            score = beams.sums[image, place].item()
            finished.append((score, beams.words[image, place].clone(), kept, whole))
    beams.sums[image, ended] -= DONE


def cut(captions: Tensor | list[Tensor], eos: int) -> list[list[int]]:
    """Return captions as lists of ids that end with the end token where they have one."""
    rows = [row.tolist() for row in captions]
    return [row[: row.index(eos) + 1] if eos in row else row for row in rows]
