"""An exported folder of ONNX graphs that stands for a ``Captioner`` wherever one is decoded.

Legend: B images, W beams, N memory slots, V vocabulary, Z latent width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.inference.export.onnx.graphs import (
    BEGIN,
    ENCODER,
    IMAGES_INPUT,
    LOGITS,
    NOISE,
    PAST,
    PRESENT,
    STEP,
    TOKENS,
    WEIGHTS,
)
from captionlab.inference.export.onnx.session import GraphSession
from captionlab.models.decoders.recurrent.latent import latent_noise
from captionlab.text.tokenizers import tokenizer_from_dict

_MEMORY = ("slots", "pooled", "mask", "boxes")
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class OnnxState:
    """What a decoder's graphs remember after ``steps`` steps.

    ``beams`` (B, W, ...) are the tensors of each beam, the latent's noise before the first step;
    ``images`` (B, ...) those of the image.
    """

    memory: Memory
    steps: int = 0
    beams: Mapping[str, Tensor] = field(default_factory=dict)
    images: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Tensor | None = None

    def select(self, indices: Tensor) -> OnnxState:
        """Return the state whose beam w of image b continues beam ``indices[b, w]``."""
        indices = indices.cpu()
        rows = torch.arange(indices.shape[0]).unsqueeze(1)
        beams = {name: tensor[rows, indices] for name, tensor in self.beams.items()}
        weights = None
        if self.weights is not None:
            weights = self.weights[rows.to(self.weights.device), indices.to(self.weights.device)]
        return replace(self, beams=beams, weights=weights)

    def take(self, images: Tensor) -> OnnxState:
        """Return the state of the images with these indices, in this order."""
        own = images.cpu()
        return replace(
            self,
            memory=self.memory.take(images.to(self.memory.pooled.device)),
            beams={name: tensor[own] for name, tensor in self.beams.items()},
            images={name: tensor[own] for name, tensor in self.images.items()},
            weights=None if self.weights is None else self.weights[images],
        )


class OnnxCaptioner(nn.Module):
    """The graphs of an exported folder behind the functions of a ``Captioner``, on the CPU.

    Args:
        folder: an exported folder whose files were checked against its list.
        manifest: that list, ``captionlab.json``.

    Raises:
        UserError: if a graph is not as the list says, asks for files outside of the folder or for
            operators that onnxruntime does not bring, or onnxruntime is missing.
    """

    attention_penalty = 0.0
    tags = None
    connector = None
    retrieval = None

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        super().__init__()
        entry = _checked(folder, manifest)
        self._graphs = {name: GraphSession(folder, name) for name in (ENCODER, BEGIN, STEP)}
        for name, graph in self._graphs.items():
            graph.require(entry["graphs"].get(name))
        self._counters: dict[str, int] = entry["counters"]
        self._longest: int | None = entry["longest"]
        self._noise: int | None = entry["noise"]
        signature = self._graphs[STEP].signature
        moved = [n.removeprefix(PRESENT) for n in signature["outputs"] if n.startswith(PRESENT)]
        self._beams = frozenset(moved)
        tokenizer = tokenizer_from_dict(manifest["tokenizer"])
        self.control_ids = tokenizer.control_ids
        self._require_consistent(folder, len(tokenizer), manifest["image"]["size"])
        self.encoder = SimpleNamespace(image_size=manifest["image"]["size"])
        self.decoder = SimpleNamespace(learns=True)

    def encode(self, images: Tensor | Memory) -> Memory:
        """Return the memory of images (B, 3, h, w), uint8, or floats in [0, 1] as the nearest of 256 levels.

        Raises:
            UserError: for stored features, which an exported captioner does not read.
        """
        if isinstance(images, Memory):
            raise UserError("an exported captioner reads images and no stored features")
        if images.dtype != torch.uint8:
            images = (images * 255).round().clamp(0, 255).to(torch.uint8)
        found = self._graphs[ENCODER]({IMAGES_INPUT: images})
        return Memory(**found).each(lambda tensor: tensor.to(images.device))

    def look(self, images: Tensor | Memory) -> Memory:
        """Return what ``encode`` does: a connector is a part of the encoder's graph."""
        return self.encode(images)

    def connect(self, memory: Memory) -> Memory:
        """Return the memory as it is."""
        return memory

    def init_state(self, memory: Memory, width: int) -> OnnxState:
        """Return the state before the first token, for ``width`` beams an image."""
        if self._noise is None:
            return OnnxState(memory)
        return OnnxState(memory, beams={NOISE: torch.zeros(len(memory), width, self._noise)})

    def sample_init_state(
        self,
        memory: Memory,
        width: int,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> OnnxState:
        """Return the state before the first token, for ``width`` random captions an image.

        What is latent in the captioner is drawn as its decoder in torch draws it.
        """
        if self._noise is None:
            return self.init_state(memory, width)
        shape = (len(memory), width, self._noise)
        noise = latent_noise(shape, memory.pooled.device, generator, seeds)
        return OnnxState(memory, beams={NOISE: noise.cpu()})

    def step(self, token_ids: Tensor, state: OnnxState) -> tuple[Tensor, OnnxState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state.

        Raises:
            UserError: for a caption longer than the captioner's positions.
        """
        if self._longest is not None and state.steps >= self._longest:
            raise UserError(
                f"a caption of {state.steps + 1} tokens, its prompt counted, is longer than this "
                f"captioner's {self._longest} positions: lower decoding.max_length"
            )
        inputs = {TOKENS: token_ids, **state.beams, **state.images}
        if state.steps == 0:
            inputs |= {name: getattr(state.memory, name) for name in self._memory_inputs}
        for name, more in self._counters.items():
            inputs[PAST + name] = torch.tensor(state.steps + more)
        found = self._graphs[STEP if state.steps else BEGIN](inputs)
        past = {
            PAST + name.removeprefix(PRESENT): tensor
            for name, tensor in found.items()
            if name.startswith(PRESENT)
        }
        beams = {n: tensor for n, tensor in past.items() if n.removeprefix(PAST) in self._beams}
        images = state.images or {n: tensor for n, tensor in past.items() if n not in beams}
        device = token_ids.device
        weights = found[WEIGHTS].to(device) if WEIGHTS in found else None
        following = OnnxState(state.memory, state.steps + 1, beams, images, weights)
        return found[LOGITS].to(device), following

    @property
    def _memory_inputs(self) -> list[str]:
        return [n for n in self._graphs[BEGIN].signature["inputs"] if n in _MEMORY]

    def _require_consistent(self, folder: Path, words: int, image_size: int) -> None:
        """Raise UserError unless the graphs fit one another, the vocabulary and the images."""
        encoder, begin, step = (self._graphs[name].signature for name in (ENCODER, BEGIN, STEP))
        images = encoder["inputs"].get(IMAGES_INPUT)
        if images is None or images[1][1:] != [3, image_size, image_size]:
            raise UserError(f"{folder}: its encoder reads no images of {image_size} pixels.")
        given = {*encoder["outputs"], TOKENS, *([NOISE] if self._noise else [])}
        missing = begin["inputs"].keys() - given
        made = {n.replace(PRESENT, PAST, 1) for n in begin["outputs"] if n.startswith(PRESENT)}
        missing |= step["inputs"].keys() - made - {TOKENS, *(PAST + n for n in self._counters)}
        if missing or not encoder["outputs"].keys() >= {"slots", "pooled", "mask"}:
            raise UserError(
                f"{folder}: its graphs do not fit one another ({sorted(missing)!r:.80})."
            )
        if encoder["outputs"].keys() - set(_MEMORY):
            raise UserError(f"{folder}: its encoder gives {sorted(encoder['outputs'])!r:.80}.")
        for graph in (begin, step):
            logits = graph["outputs"].get(LOGITS)
            if logits is None or logits[1][2:] != [words]:
                raise UserError(
                    f"{folder}: its graphs score {logits and logits[1]!r:.40} words, and its "
                    f"vocabulary has {words}."
                )


def _checked(folder: Path, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a list's entry of ONNX; UserError for one that is damaged."""
    entry = manifest.get("onnx")
    entry = entry if isinstance(entry, Mapping) else {}
    counters, longest, noise = (entry.get(name) for name in ("counters", "longest", "noise"))
    sound = isinstance(entry.get("graphs"), Mapping) and isinstance(counters, Mapping)
    numbers = [*counters.values()] if isinstance(counters, Mapping) else [None]
    numbers += [number for number in (longest, noise) if number is not None]
    if not sound or not all(type(n) is int and -_LARGEST <= n <= _LARGEST for n in numbers):
        raise UserError(f"{folder} is damaged: its captionlab.json does not describe its graphs.")
    if noise is not None and not 1 <= noise <= 2**20:
        raise UserError(f"{folder} is damaged: its latent is {noise} wide.")
    return entry
