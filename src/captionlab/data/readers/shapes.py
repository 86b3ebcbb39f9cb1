"""The built-in data set: drawn scenes with captions, or questions and answers, true by construction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import ClassVar, overload

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.records import CaptionRecord
from captionlab.shapes.draw import LEAST_SIZE, draw
from captionlab.shapes.plan import plan
from captionlab.shapes.questions import ask
from captionlab.shapes.scene import Background, Scene, SceneObject, sample_scene
from captionlab.shapes.truth import is_true
from captionlab.shapes.write import LANGUAGES, grammar
from captionlab.text.prompts import Prompt

__all__ = [
    "Background",
    "Scene",
    "SceneObject",
    "Shapes",
    "ShapesQuestions",
    "captions",
    "draw",
    "is_true",
    "sample_scene",
]

_UNSEEN = "test_unseen"
_MOST_CAPTIONS = 20


def captions(scene: Scene, rng: Random, n: int = 5, language: str = "en") -> tuple[str, ...]:
    """Return n different sentences that are true of the scene, of moderate length."""
    writer = grammar(language)
    texts: dict[str, None] = {}
    while len(texts) < n:
        text = writer.write(plan(scene, rng), rng)
        if writer.length(text) <= writer.longest:
            texts[text] = None
    return tuple(texts)


class DrawnScenes(ABC):
    """Drawn scenes of one to four objects in four splits, the same for the same seed.

    `test_unseen` has as many images as `test`; each holds a color-shape pair that no other split
    has. UserError for a size below 1 or a picture too small to see shapes in.
    """

    splits: tuple[str, ...] = ("train", "val", "test", _UNSEEN)

    def __init__(
        self,
        *,
        language: str = "en",
        seed: int = 0,
        train_size: int = 20000,
        val_size: int = 500,
        test_size: int = 500,
        image_size: int = 64,
    ) -> None:
        self._require_language(language)
        whole("seed", seed, -(2**63), 2**63 - 1)
        for name, size in (
            ("train_size", train_size),
            ("val_size", val_size),
            ("test_size", test_size),
        ):
            whole(name, size, 1, 10**9)
        whole("image_size", image_size, LEAST_SIZE, 4096)
        self.language = language
        self.seed = seed
        self.image_size = image_size
        sizes = (train_size, val_size, test_size, test_size)
        self.sizes = dict(zip(self.splits, sizes, strict=True))

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return the records of a split, each made when it is asked for."""
        self._known(split)
        return ShapesRecords(self, split)

    def scene(self, image_id: int | str) -> Scene:
        """Return the scene behind an image id such as "test-17"; UserError where there is none."""
        split, _, number = str(image_id).rpartition("-")
        self._known(split)
        if not number.isdecimal() or int(number) >= self.sizes[split]:
            raise UserError(
                f"there is no image {image_id!r}: {split} has images {split}-0 to "
                f"{split}-{self.sizes[split] - 1}"
            )
        return self._scene(split, int(number))

    def record(self, split: str, index: int) -> CaptionRecord:
        """Return one record; its texts are written now, its image is drawn on demand."""
        scene = self._scene(split, index)
        rng = Random(f"{self._drawn} {self.language} {self.seed} {split} {index}")
        texts, prompts = self._texts(scene, rng, f"{split}-{index}")
        return CaptionRecord(
            image_id=f"{split}-{index}",
            image=partial(draw, scene, self.image_size),
            captions=texts,
            prompts=prompts,
        )

    _drawn: ClassVar[str]  # begins the seed of the texts

    @staticmethod
    @abstractmethod
    def _require_language(language: str) -> None:
        """Raise UserError for a language that the texts are not written in."""

    @abstractmethod
    def _texts(
        self, scene: Scene, rng: Random, image_id: str
    ) -> tuple[tuple[str, ...], tuple[Prompt, ...]]:
        """Return the captions of a scene, and what is given before each."""

    def _scene(self, split: str, index: int) -> Scene:
        rng = Random(f"scene {self.seed} {split} {index}")
        return sample_scene(rng, unseen=split == _UNSEEN)

    def _known(self, split: str) -> None:
        if split not in self.splits:
            raise UserError(
                f"the built-in data have no split {split!r}; {did_you_mean(split, self.splits)}"
            )


class Shapes(DrawnScenes):
    """Drawn scenes with captions that are true of them, in one of `LANGUAGES`.

    UserError for an unknown language, and as of `DrawnScenes`.
    """

    _drawn = "captions"

    def __init__(
        self,
        *,
        language: str = "en",
        seed: int = 0,
        train_size: int = 20000,
        val_size: int = 500,
        test_size: int = 500,
        image_size: int = 64,
        captions_per_image: int = 5,
    ) -> None:
        super().__init__(
            language=language,
            seed=seed,
            train_size=train_size,
            val_size=val_size,
            test_size=test_size,
            image_size=image_size,
        )
        whole("captions_per_image", captions_per_image, 1, _MOST_CAPTIONS)
        self.captions_per_image = captions_per_image

    @staticmethod
    def _require_language(language: str) -> None:
        if language not in LANGUAGES:
            hint = did_you_mean(str(language), LANGUAGES)
            raise UserError(
                f"language={language!r}: the built-in data have no such language; {hint}"
            )

    def truth(self, image_id: int | str, caption: str) -> bool:
        """Return whether all that a caption says of an image holds, in the data's language; see `is_true`."""
        return is_true(caption, self.scene(image_id), self.language)

    def _texts(
        self, scene: Scene, rng: Random, image_id: str
    ) -> tuple[tuple[str, ...], tuple[Prompt, ...]]:
        return captions(scene, rng, self.captions_per_image, self.language), ()


class ShapesQuestions(DrawnScenes):
    """The same scenes with questions, three to seven an image, and their true answers as captions.

    What color, how many, is there, where, which is larger. Each question's prompt has the id
    IMAGE-KIND-NUMBER ("test-17-color-0"). In `test_unseen` every question is about an object of a
    color-shape pair that no other split has in a picture, a question or an answer. UserError for a
    language other than English, and as of `DrawnScenes`.
    """

    _drawn = "questions"

    @staticmethod
    def _require_language(language: str) -> None:
        if language != "en":
            raise UserError(
                f"language={language!r}: the built-in questions are in English alone (data.language=en)"
            )

    def _texts(
        self, scene: Scene, rng: Random, image_id: str
    ) -> tuple[tuple[str, ...], tuple[Prompt, ...]]:
        asked = ask(scene, rng, unseen=image_id.startswith(_UNSEEN))
        prompts = tuple(
            Prompt(question=question.text, id=f"{image_id}-{question.kind}-{number}")
            for number, question in enumerate(asked)
        )
        return tuple(question.answer for question in asked), prompts


@dataclass(frozen=True)
class ShapesRecords(Sequence[CaptionRecord]):
    """The records of one split; a few numbers, whatever its size, so that workers copy nothing."""

    source: DrawnScenes
    split: str

    def __len__(self) -> int:
        return self.source.sizes[self.split]

    @overload
    def __getitem__(self, index: int) -> CaptionRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[CaptionRecord]: ...
    def __getitem__(self, index: int | slice) -> CaptionRecord | list[CaptionRecord]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"{self.split} has {len(self)} images, no number {index}")
        return self.source.record(self.split, place)

    def __iter__(self) -> Iterator[CaptionRecord]:
        return (self[i] for i in range(len(self)))


def whole(name: str, value: int, least: int, most: int) -> None:
    """Refuse a setting that is no whole number within bounds; UserError names it."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"{name}={value!r}: a whole number from {least} to {most} is needed")
