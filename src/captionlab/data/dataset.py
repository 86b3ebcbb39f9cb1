"""Records become examples; what a batch of them holds (``collate`` makes it).

B images, K captions an image, T tokens, h and w pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.store import Features
from captionlab.data.images.files import BrokenImage, load_image
from captionlab.data.images.prepare import Augment, prepare, shrunk, swap_sides
from captionlab.data.records import CaptionRecord
from captionlab.data.scored_records import scored_id
from captionlab.text.prompts import Prompt
from captionlab.text.tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class CaptionExample:
    """One image with its captions, each bos, words, eos (at least 2 ids).

    ``image`` is (3,h,w) uint8, or its stored memory: slots (N,D), pooled (P,), mask (N,). ``seed``:
    from what its random parts were drawn, if that was told. ``prompts``: the ids that are given
    before each caption, one tensor (P,) a caption, or none at all; ``scored_ids``: under which id each
    caption's references stand then. ``picture_id``: as of its record.
    """

    image: Tensor | Memory
    captions: list[Tensor]
    image_id: int | str
    references: list[str]
    seed: int | None = None
    prompts: list[Tensor] = field(default_factory=list)
    scored_ids: list[int | str] = field(default_factory=list)
    picture_id: int | str | None = None


@dataclass(slots=True)
class CaptionBatch:
    """An image-major batch: the encoder runs once an image, whatever the number of captions.

    images (B,3,h,w) uint8, the encoder normalizes them on its own device, or the stored memory of
    images; tokens (B,K,T) int64, bos
    words eos padding; lengths (B,K) int64 with bos and eos counted, 0 where a caption is absent.
    prompts (B,K,P) int64, what is given before each caption, then padding; None where nothing is.
    scored_ids, beside prompts: under which id the references of each caption stand.
    rows (B,) int64: which of fewer images each belongs to, where several prompts of one image are
    scored; None where there is one image each.
    """

    images: Tensor | Memory
    tokens: Tensor
    lengths: Tensor
    image_ids: list[int | str]
    references: list[list[str]]
    prompts: Tensor | None = None
    scored_ids: list[list[int | str]] | None = None
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> CaptionBatch:
        """Return the batch with its tensors on a device (Lightning calls this)."""
        return replace(
            self,
            images=self.images.each(lambda t: t.to(device, non_blocking=non_blocking))
            if isinstance(self.images, Memory)
            else self.images.to(device, non_blocking=non_blocking),
            tokens=self.tokens.to(device, non_blocking=non_blocking),
            lengths=self.lengths.to(device, non_blocking=non_blocking),
            prompts=_each(self.prompts, lambda t: t.to(device, non_blocking=non_blocking)),
            rows=_each(self.rows, lambda t: t.to(device, non_blocking=non_blocking)),
        )

    def pin_memory(self) -> CaptionBatch:
        """Return the batch in page-locked memory (the DataLoader calls this for a GPU)."""
        return replace(
            self,
            images=self.images.each(Tensor.pin_memory)
            if isinstance(self.images, Memory)
            else self.images.pin_memory(),
            tokens=self.tokens.pin_memory(),
            lengths=self.lengths.pin_memory(),
            prompts=_each(self.prompts, Tensor.pin_memory),
            rows=_each(self.rows, Tensor.pin_memory),
        )


def _each(tensor: Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None if tensor is None else change(tensor)


class CaptionDataset(Dataset[CaptionExample]):
    """Images and encoded captions of one split.

    Args:
        records: the split. image_size, fit: how an image becomes (3,image_size,image_size).
        captions_per_image: with more captions than this, a random subset is drawn at each access
            (training); null keeps all of them.
        max_length: longest caption, and longest question, in tokens, bos and eos not counted; the rest
            is cut.
        cache: keep prepared images in memory after their first use.
        blank: give a gray image in place of each (what does the decoder know without seeing?).
        features: stored memory, given in place of the images.
    """

    def __init__(
        self,
        records: Sequence[CaptionRecord],
        tokenizer: Tokenizer,
        *,
        image_size: int,
        fit: str = "stretch",
        captions_per_image: int | None = None,
        max_length: int = 40,
        augment: Augment | None = None,
        cache: bool = False,
        blank: bool = False,
        features: Features | None = None,
    ):
        self.features = features
        self.records = records
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.fit = fit
        self.captions_per_image = captions_per_image
        self.max_length = max_length
        self.augment = augment
        self.blank = blank
        self._images: dict[int | str, Tensor] | None = {} if cache and augment is None else None
        self._latest: dict[int | str, Tensor] = {}  # one image: its next prompt may come
        # packed: as tensors the captions of 100,000 images take 400 MB, in each loading process
        self._captions: list[bytes | None] = [None] * len(records)
        self._prompts: list[bytes | None] = [None] * len(records)
        self._retrieved: Sequence[Sequence[int]] = ()
        self._pictures: dict[int, Tensor] = {}  # those that people are shown, epoch after epoch

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, item: int | tuple[int, int]) -> CaptionExample:
        """Return an item, by its index or (index, seed); the seed decides what is random about it."""
        index, seed = item if isinstance(item, tuple) else (item, None)
        with drawn_from(seed):
            return replace(self._example(index), seed=seed)

    def _example(self, index: int) -> CaptionExample:
        record = self.records[index]
        captions, references = self.encoded(index), list(record.captions)
        prompts = self.encoded_prompts(index)
        if self.augment is None or self.blank:
            image = self._image(index) if self.features is None else self._stored(record)
        else:
            questions = (prompt.question for prompt in record.prompts)
            varied, mirrored = self.augment.vary(
                read_record_image(record, self.image_size), (*record.captions, *questions)
            )
            if mirrored:
                references = [swap_sides(caption) for caption in references]
                captions = [self._encode(caption) for caption in references]
                prompts = [self._encode_prompt(_mirrored(prompt)) for prompt in record.prompts]
            image = prepare(varied, self.image_size, self.fit)
        drawn = self._drawn(len(captions))
        return CaptionExample(
            image,
            [captions[i] for i in drawn],
            record.image_id,
            references,
            prompts=self._behind_retrieved(index, prompts, drawn),
            scored_ids=[scored_id(record.stored_id, record.prompts[i]) for i in drawn]
            if record.prompts
            else [],
            picture_id=record.picture_id,
        )

    def _behind_retrieved(
        self, index: int, prompts: Sequence[Tensor], drawn: Sequence[int]
    ) -> list[Tensor]:
        """Return what is given before each drawn caption; no list where nothing is."""
        chosen = [prompts[i] for i in drawn] if prompts else []
        if not self._retrieved:
            return chosen
        first = torch.tensor(self._retrieved[index], dtype=torch.long)
        return [torch.cat([first, own]) for own in chosen] if chosen else [first] * len(drawn)

    def read_from(self, features: Features) -> None:
        """Give stored memory in place of images from now on, and forget the images."""
        self.features, self._images = features, None

    def give_before(self, retrieved: Sequence[Sequence[int]]) -> None:
        """Give these token ids, of each item, before what else is given before its captions."""
        self._retrieved = retrieved

    def _drawn(self, captions: int) -> Sequence[int]:
        """Return the places of as many of an image's captions as are wanted, drawn anew."""
        keep = self.captions_per_image
        if keep is None or captions <= keep:
            return range(captions)
        return torch.randperm(captions)[:keep].tolist()

    def _stored(self, record: CaptionRecord) -> Memory:
        assert self.features is not None
        return self.features.read(record.stored_id)

    def picture(self, index: int, largest: int) -> Tensor | None:
        """Return an item's image for people: (3,h,w) uint8, in its own proportions.

        Its long side is ``largest`` pixels at most. Where features are stored, images need not be
        there: None for a missing one. A blank one is gray, as the encoder sees it.
        """
        if self.blank:
            return self._gray()
        if index not in self._pictures:
            try:
                image = read_record_image(self.records[index], largest)
            except (BrokenImage, UserError):
                if self.features is None:
                    raise
                return None
            self._pictures[index] = shrunk(image, largest)
        return self._pictures[index]

    def encoded(self, index: int) -> list[Tensor]:
        """Return all captions of an item as ids: bos, words, eos."""
        packed = self._captions[index]
        if packed is not None:
            return _unpacked(packed, len(self.records[index].captions))
        captions = [self._encode(text) for text in self.records[index].captions]
        self._captions[index] = _packed(captions)
        return captions

    def encoded_prompts(self, index: int) -> list[Tensor]:
        """Return the ids of what is given before each caption of an item; no list where nothing is."""
        given = self.records[index].prompts
        packed = self._prompts[index]
        if packed is not None:
            return _unpacked(packed, len(given))
        prompts = [self._encode_prompt(prompt) for prompt in given]
        self._prompts[index] = _packed(prompts)
        return prompts

    def _encode_prompt(self, prompt: Prompt) -> Tensor:
        return torch.tensor(self.tokenizer.encode_prompt(prompt, self.max_length), dtype=torch.long)

    def _encode(self, caption: str) -> Tensor:
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        return torch.tensor([bos, *self.tokenizer.encode(caption)[: self.max_length], eos])

    def _image(self, index: int) -> Tensor:
        if self.blank:
            return self._gray()
        record = self.records[index]
        images = self._latest if self._images is None else self._images
        key = index if record.picture_id is None else f"picture {record.picture_id}"
        if key in images:
            return images[key]
        image = read_record_image(record, self.image_size)
        image = prepare(image, self.image_size, self.fit)
        if self._images is None:
            self._latest.clear()
        images[key] = image
        return image

    def _gray(self) -> Tensor:
        return torch.full((3, self.image_size, self.image_size), 127, dtype=torch.uint8)


def _mirrored(prompt: Prompt) -> Prompt:
    return replace(prompt, question=swap_sides(prompt.question))


def _packed(captions: Sequence[Tensor]) -> bytes:
    """Return the lengths of captions, and behind them their ids, as int32."""
    lengths = torch.tensor([len(caption) for caption in captions], dtype=torch.long)
    return torch.cat([lengths, *captions]).to(torch.int32).numpy().tobytes()


def _unpacked(packed: bytes, count: int) -> list[Tensor]:
    """Return the captions that were packed, ``count`` of them."""
    numbers = torch.from_numpy(np.frombuffer(packed, np.int32).astype(np.int64))
    return list(numbers[count:].split(numbers[:count].tolist()))


@contextmanager
def drawn_from(seed: int | None) -> Iterator[None]:
    """Let torch's generator of the CPU draw from ``seed`` in the block, and as before after it."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def read_record_image(record: CaptionRecord, size: int | None = None) -> Tensor:
    """Return a record's image, (3,h,w) uint8, read from its file or drawn.

    ``size`` is what it will be resized to: a much larger JPEG is then decoded at reduced size.

    Raises:
        BrokenImage: if the file cannot be decoded.
    """
    if callable(record.image):
        return torch.from_numpy(np.ascontiguousarray(record.image())).permute(2, 0, 1)
    return load_image(record.image, size=size)
