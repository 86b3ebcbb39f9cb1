"""The captioner of a server: images and prompts in batches, and what it can be asked for."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captionlab.applications.serve.batcher import Batcher
from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.images import decode_image, readable_formats
from captionlab.applications.serve.methods import METHODS, Method
from captionlab.applications.serve.schemas import LONGEST_CAPTION, Wishes
from captionlab.applications.serve.settings import ServeSettings
from captionlab.core.errors import UserError
from captionlab.decoding import Beam
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.inference.words import WordedCaption, captions_of_memory, worded_captions
from captionlab.metrics.calibration import Calibration
from captionlab.text.prompts import NO_PROMPT, Prompt

log = logging.getLogger(__name__)

FIELDS = {"beginning": "begin"}
WARM_UP = 2  # images; a batch takes another way through torch than one


@dataclass(frozen=True)
class Asked:
    """An image (3,size,size) uint8, what is asked of it, and what decides its draws."""

    image: Tensor
    prompt: Prompt
    noise: Tensor | None = None


CaptionBatcher = Batcher[Method, Asked, list[WordedCaption]]


class Captioning:
    """A loaded captioner as a server uses it, from one thread."""

    def __init__(
        self,
        loaded: LoadedCaptioner,
        settings: ServeSettings,
        calibration: Calibration | None = None,
    ) -> None:
        self.loaded = loaded
        self.settings = settings
        self.calibration = calibration
        self.has_attention = False
        self.has_voice = False  # whether the server reads captions aloud
        self.slots = 0

    def warm_up(self) -> None:
        """Write captions of empty pictures: torch is slow the first time, and attention shows itself."""
        readable_formats()
        self.loaded.fold()
        size = self.image_size
        blank = torch.full((WARM_UP, 3, size, size), 127, dtype=torch.uint8)
        prompts = [NO_PROMPT] * WARM_UP
        with torch.inference_mode():
            memory, given = self.loaded.encode(blank, prompts)
        captions = captions_of_memory(self.loaded, memory, given, prompts)
        own = memory.members[0] if self.loaded.others else memory
        self.slots = int(own.slots.shape[1])
        words = [word for image in captions for caption in image for word in caption.words]
        self.has_attention = any(word.attention is not None for word in words)

    @property
    def image_size(self) -> int:
        """Pixels a side of what the captioner sees."""
        return int(self.loaded.captioner.encoder.image_size)

    @property
    def max_length(self) -> int:
        """Tokens of a caption at most, its end counted, unless a request says otherwise."""
        return min(LONGEST_CAPTION, getattr(self.loaded.decoding, "max_length", LONGEST_CAPTION))

    @property
    def fit(self) -> str:
        """How a picture is brought to that square."""
        return str(self.loaded.config["data"].get("fit", "stretch"))

    @property
    def takes_beginning(self) -> bool:
        """Whether captions can go on from given words."""
        return bool(getattr(self.loaded.captioner.decoder, "learns", True))

    def read(self, data: bytes, param: str) -> Tensor:
        """Return an encoded picture as the captioner wants it, (3,size,size) uint8.

        Raises:
            ApiError: as ``decode_image``.
        """
        size = self.image_size
        pixels = decode_image(data, size=size, max_pixels=self.settings.max_pixels, param=param)
        return self.loaded.prepare(pixels)

    def require(self, method: Method, prompt: Prompt) -> None:
        """Raise ApiError for a prompt, or a forced word, that the captioner did not learn."""
        tokenizer, decoding = self.loaded.tokenizer, method.decoding
        try:
            self.loaded.prompt_ids(prompt)
            if isinstance(decoding, Beam):
                decoding.forced_ids(tokenizer.encode, (tokenizer.unk_id, *tokenizer.control_ids))
        except UserError as error:
            sentence = str(error)
            # the library's sentences begin with the field, or the decoding's setting
            name = re.split(r"[ =]", sentence.removeprefix("decoding."))[0]
            param = FIELDS.get(name, name)
            known = param in Wishes.model_fields
            raise ApiError(400, sentence, param=param if known else None) from None

    def prompt_length(self, wishes: Wishes) -> int:
        """Return how many tokens are given: those of the prompt, and the places of the picture."""
        prompt = Prompt(wishes.question, wishes.style, wishes.language, wishes.begin)
        return len(self.loaded.prompt_ids(prompt)) + self.slots

    def caption(
        self, method: Method, batch: Sequence[Asked]
    ) -> Sequence[list[WordedCaption] | Exception]:
        """Return the captions of each image of a batch, or why it has none."""
        try:
            return self._together(method, batch)
        except Exception as error:
            if len(batch) == 1:
                return [error]
            if not isinstance(error, UserError):
                log.exception("a batch of %d images failed; each is tried alone", len(batch))
        # what one of them asks for may be what fails: it takes no other with it
        return [self.caption(method, [asked])[0] for asked in batch]

    def _together(self, method: Method, batch: Sequence[Asked]) -> list[list[WordedCaption]]:
        noise = [asked.noise for asked in batch if asked.noise is not None]
        return worded_captions(
            self.loaded,
            torch.stack([asked.image for asked in batch]),
            [asked.prompt for asked in batch],
            method.decoding,
            torch.stack(noise) if noise else None,
        )

    def probability(self, caption: WordedCaption) -> float | None:
        """Return the calibrated chance that a caption is right, None without a calibration."""
        if self.calibration is None:
            return None
        return self.calibration.probability(caption.log_prob, caption.length)

    def describe(self) -> dict[str, Any]:
        """Return what can be asked of the captioner, and what of the server."""
        tokenizer, settings = self.loaded.tokenizer, self.settings
        return {
            "questions": tokenizer.answers,
            "styles": tokenizer.styles,
            "languages": tokenizer.languages,
            "beginning": self.takes_beginning,
            "attention": self.has_attention,
            "image_size": self.image_size,
            "fit": self.fit,
            "calibrated": self.calibration is not None,
            "abstain": settings.abstain,
            "speech": self.has_voice,
            "max_bytes": settings.max_bytes,
            "max_images": settings.max_images,
            "decoding": {
                "methods": sorted(METHODS),
                "default": type(self.loaded.decoding).__name__.lower(),
                "max_captions": settings.max_captions,
                "max_width": settings.max_width,
            },
        }
