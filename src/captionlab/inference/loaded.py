"""A trained captioner and a photo: ``load_captioner("best.ckpt")("photo.jpg")``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.config.instantiate import build_part
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.images.files import load_image
from captionlab.data.images.prepare import prepare
from captionlab.decoding.captions import Decoding, all_captions, generate
from captionlab.decoding.ensemble import Ensemble
from captionlab.decoding.generated import Generated
from captionlab.inference.bounds import require_decoding
from captionlab.inference.checkpoints import Checkpoint, read_checkpoint
from captionlab.inference.export.folder import is_export
from captionlab.inference.export.hub import download, is_hub_address
from captionlab.inference.export.manifest import ExportedCheckpoint, read_export
from captionlab.inference.weights import captioner_of
from captionlab.models.captioner import Captioner
from captionlab.models.encoders.folding import folded
from captionlab.text.prompts import NO_PROMPT, Prompt
from captionlab.text.tokenizers import Tokenizer

# on a CPU: as many images as have so many pixels together, and four of any size
ENCODED_PIXELS, ENCODED_LEAST = 2**17, 4


class LoadedCaptioner:
    """A trained captioner that takes photos: ``load_captioner("best.ckpt")("photo.jpg")``.

    Attributes:
        captioner: the network, in evaluation mode.
        tokenizer: token ids to text.
        decoding: the method that generates.
        config: what the captioner was trained with.
        folded: what stands for its encoder since ``fold``; None before.
        others: captioners of the same vocabulary and image size that write with it (an ensemble).
    """

    def __init__(
        self,
        captioner: Captioner,
        tokenizer: Tokenizer,
        decoding: Decoding,
        config: Config,
        device: str | torch.device = "cpu",
        others: Sequence[Captioner] = (),
    ):
        self.captioner = captioner.to(device).eval()
        self.others = [other.to(device).eval() for other in others]
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.config = config
        self.device = torch.device(device)
        self.folded: nn.Module | None = None

    def __call__(self, image: str | os.PathLike[str] | Tensor, prompt: Prompt = NO_PROMPT) -> str:
        """Return the caption of one image: a path, or a (3,h,w) uint8 tensor.

        ``prompt`` asks something of it, ``Prompt(question="what color is the ball?")``, or for a
        style, a language, a beginning.

        Raises:
            BrokenImage: if the file cannot be decoded. UserError: if there is no such file, or the
                captioner did not learn what the prompt asks for.
        """
        return self.batch([image], prompt)[0]

    def batch(
        self, images: Sequence[str | os.PathLike[str] | Tensor], prompt: Prompt = NO_PROMPT
    ) -> list[str]:
        """Return the captions of several images, generated together."""
        return self.caption(torch.stack([self.prepare(image) for image in images]), prompt)

    def prepare(self, image: str | os.PathLike[str] | Tensor) -> Tensor:
        """Return an image as the encoder wants it, (3,size,size) uint8."""
        size = self.captioner.encoder.image_size
        if not isinstance(image, Tensor):
            image = load_image(Path(image), size=size)
        return prepare(image, size, self.config["data"].get("fit", "stretch"))

    def caption(self, images: Tensor, prompt: Prompt = NO_PROMPT) -> list[str]:
        """Return the captions of prepared images (B,3,size,size) uint8, beginning included."""
        return [captions[0][0] for captions in self.captions(images, prompt)]

    def captions(self, images: Tensor, prompt: Prompt = NO_PROMPT) -> list[list[tuple[str, float]]]:
        """Return every caption of each prepared image with its score, best first, beginning included."""
        _, generated = self.generate(images, prompt)
        return all_captions(generated, self.tokenizer, self.tokenizer.encode(prompt.beginning))

    @torch.inference_mode()
    def generate(self, images: Tensor, prompt: Prompt = NO_PROMPT) -> tuple[list[str], Generated]:
        """Return captions and all that the decoding found (scores, attention) of prepared images.

        Each answers or follows ``prompt``; its beginning is no part of what is returned. UserError
        for a question, a style, a language or a word of the beginning that the captioner did not
        learn. A captioner of several languages writes the first of them where none is asked for.
        """
        memory, prompts = self.encode(images, [prompt] * len(images))
        return generate(self.model, memory, self.decoding, self.tokenizer, prompts)

    def encode(
        self, images: Tensor, prompts: Sequence[Prompt]
    ) -> tuple[Any, list[list[int]] | None]:
        """Return what ``model`` reads of prepared images, and the ids that stand before each caption.

        The ids are those of the images' prompts, one each, behind captions of similar images where the
        captioner looks these up; None for none at all.

        Raises:
            UserError: as ``generate``.
        """
        asked = {prompt: self.prompt_ids(prompt) for prompt in dict.fromkeys(prompts)}
        given = [asked[prompt] for prompt in prompts]
        images = images.to(self.device)
        if self.others:  # none of which looks captions up
            return self.model.encode(images), given if any(given) else None
        seen = Memory.cat([self._look(some) for some in images.split(_encoded_together(images))])
        if self.captioner.retrieval is not None:
            retrieved = self.captioner.retrieval.prompts(seen.pooled)
            given = [[*similar, *own] for similar, own in zip(retrieved, given, strict=True)]
        return self.captioner.connect(seen), given if any(given) else None

    def fold(self) -> None:
        """See through a copy of the encoder whose batch norms are folded away, from now on.

        Captions are the same within rounding. The copy takes a tenth of a second, and saves as much
        in about eight images. An ensemble stays as it is.
        """
        # another class may look in a way of its own
        if type(self.captioner) is Captioner and not self.others:
            self.folded = folded(self.captioner.encoder)

    def _look(self, images: Tensor) -> Memory:
        memory: Memory = (self.folded or self.captioner.look)(images)
        return memory

    @property
    def model(self) -> Any:
        """What decoding steps through: the captioner, or it and the others as one."""
        return Ensemble([self.captioner, *self.others]) if self.others else self.captioner

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Return the token ids that stand for a prompt before each caption.

        Raises:
            UserError: as ``generate``.
        """
        self._require_known(prompt)
        if self.tokenizer.languages and not prompt.language:
            prompt = replace(prompt, language=self.tokenizer.languages[0])
        return self.tokenizer.encode_prompt(prompt)

    def _require_known(self, prompt: Prompt) -> None:
        beginning = prompt.beginning
        writers = (self.captioner, *self.others)
        if beginning and not any(getattr(one.decoder, "learns", True) for one in writers):
            raise UserError(
                f"beginning {beginning!r}: this captioner writes captions of its training images as "
                "they are, from their first words: leave it out"
            )
        unknown = self.tokenizer.unk_id
        asked = self.tokenizer.encode(prompt.question)
        if prompt.question and all(token == unknown for token in asked):
            raise UserError(
                f"question {prompt.question!r}: the captioner knows none of its words; ask as the "
                "questions that it was trained on do"
            )
        words = [word for word in beginning.split() if unknown in self.tokenizer.encode(word)]
        if words:
            raise UserError(
                f"beginning {beginning!r}: the captioner does not know the word {words[0]!r}"
            )


def _encoded_together(images: Tensor) -> int:
    """Return how many images (B,3,h,w) are encoded at a time.

    The activations of a large batch do not fit a CPU's caches: EfficientNet takes a third longer.
    """
    if images.device.type != "cpu":
        return max(1, len(images))
    return max(ENCODED_LEAST, ENCODED_PIXELS // (images.shape[-2] * images.shape[-1]))


def load_captioner(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    device: str | torch.device = "cpu",
    decoding: Sequence[str] = (),
    trust: Sequence[str] = (),
) -> LoadedCaptioner:
    """Return the trained captioner of a checkpoint or an exported folder, ready for photos.

    Args:
        path: a file that captionlab's training wrote, a folder that ``captionlab export`` wrote,
            ``hf://owner/name[@revision]`` of such a folder on Hugging Face's hub, or several of them,
            which then write together: the first one's decoding and image preparation are taken.
        device: "cpu", "cuda", "cuda:1" ...
        decoding: overrides, e.g. ``["decoding=beam", "decoding.beam_size=5"]``.
        trust: classes, or packages of your own, that the checkpoint may name beside captionlab's.

    Raises:
        UserError: as ``read_checkpoint`` and ``captioner_of``, and for several files whose
            vocabularies or image sizes differ.
    """
    first, *more = [path] if isinstance(path, str | os.PathLike) else path
    checkpoint = _read(first)
    others = [_read(other) for other in more]
    for other in others:
        require_alike(checkpoint, other)
    config = checkpoint.config
    if decoding:
        from captionlab.config.override import override  # it imports Hydra

        config = override(checkpoint.composed, decoding, groups=("decoding",))
    require_decoding(config["decoding"], checkpoint, trust)
    return LoadedCaptioner(
        _network_of(checkpoint, trust),
        checkpoint.tokenizer,
        build_part(config["decoding"], "decoding"),
        config,
        device,
        [_network_of(other, trust) for other in others],
    )


def _read(path: str | os.PathLike[str]) -> Checkpoint:
    if is_hub_address(path):
        return read_export(*download(path))
    return read_export(path) if is_export(path) else read_checkpoint(path)


def _network_of(checkpoint: Checkpoint, trust: Sequence[str]) -> Any:
    """Return the network of a checkpoint or an export: a captioner, or what stands for one.

    Raises:
        UserError: as ``captioner_of``, and for an export of programs, which are not run here.
    """
    if not isinstance(checkpoint, ExportedCheckpoint) or checkpoint.format == "safetensors":
        return captioner_of(checkpoint, trust, keeps_draws=False)
    if checkpoint.format == "torch":
        raise UserError(
            f"{checkpoint.path} holds programs of torch.export, and captionlab runs no program out of "
            f"a file: if you trust who made it, python {checkpoint.path}/caption_torch.py PHOTO"
        )
    from captionlab.inference.export.onnx import OnnxCaptioner

    return OnnxCaptioner(checkpoint.path, checkpoint.manifest)


def require_alike(first: Checkpoint, other: Checkpoint) -> None:
    """Raise UserError unless two checkpoints can write together."""
    for one in (first, other):
        if one.config["model"].get("retrieval"):
            raise UserError(
                f"{one.path} writes behind captions of similar images, which are its own: it cannot "
                "write together with others"
            )
    differing = unlike(
        other,
        first.tokenizer,
        image_size=first.config["model"]["encoder"].get("image_size"),
        fit=first.config["data"].get("fit"),
    )
    if differing is not None:
        raise UserError(f"{other.path} and {first.path} cannot write together: {differing}")


def unlike(
    checkpoint: Checkpoint, tokenizer: Tokenizer, *, image_size: int | None, fit: str | None
) -> str | None:
    """Return in what a checkpoint's words or images differ from others, None where they do not.

    None as ``image_size`` or ``fit`` stands for any.
    """
    if checkpoint.tokenizer.to_dict() != tokenizer.to_dict():
        return (
            f"their vocabularies differ ({len(checkpoint.tokenizer)} and {len(tokenizer)} entries)"
        )
    own = checkpoint.config
    values = {
        "model.encoder.image_size": (own["model"]["encoder"].get("image_size"), image_size),
        "data.fit": (own["data"].get("fit"), fit),
    }
    for key, (value, other) in values.items():
        if other is not None and value != other:
            return f"{key} is {value} and {other}"
    return None
