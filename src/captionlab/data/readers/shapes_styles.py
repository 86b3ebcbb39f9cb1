"""The built-in pictures with captions in three made styles, each asked for by a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from captionlab.core.errors import UserError
from captionlab.data.readers.shapes import DrawnScenes, whole
from captionlab.shapes.scene import Scene
from captionlab.shapes.styles import STYLES
from captionlab.shapes.styles.facts import fact_scores, is_true
from captionlab.shapes.styles.read import style_of
from captionlab.shapes.styles.write import write
from captionlab.text.prompts import Prompt

_MOST_CAPTIONS = 10  # a scene of one object has few terse captions


class ShapesStyles(DrawnScenes):
    """The scenes, pictures and splits of ``Shapes``, with captions of each style in `STYLES`.

    terse: a noun phrase or a relation of two without article or verb, ten words at most. ornate: the
    same facts in solemn words, 26 at most. paragraph: several sentences that name the number of
    objects, the background, each object with size, texture, color, shape and place, and relations;
    120 words at most. UserError as of ``DrawnScenes``, and for a language other than English.
    """

    _drawn = "styles"
    score_names: tuple[str, ...] = ("style_obeyed", "fact_precision", "fact_recall")

    def __init__(
        self,
        *,
        language: str = "en",
        seed: int = 0,
        train_size: int = 20000,
        val_size: int = 500,
        test_size: int = 500,
        image_size: int = 64,
        captions_per_style: int = 2,
    ) -> None:
        super().__init__(
            language=language,
            seed=seed,
            train_size=train_size,
            val_size=val_size,
            test_size=test_size,
            image_size=image_size,
        )
        whole("captions_per_style", captions_per_style, 1, _MOST_CAPTIONS)
        self.captions_per_style = captions_per_style

    @staticmethod
    def _require_language(language: str) -> None:
        if language != "en":
            raise UserError(
                f"language={language!r}: the styles are written in English alone; "
                "say data.language=en, or data=shapes for German and Chinese"
            )

    def truth(self, image_id: int | str, caption: str) -> bool:
        """Return whether all that a caption says of an image holds, whatever its style."""
        return is_true(caption, self.scene(image_id))

    def caption_scores(
        self, image_id: int | str, caption: str, prompt: Prompt
    ) -> Mapping[str, float | None]:
        """Return the scores of one caption by name, None where a score says nothing of it.

        ``style_obeyed``: whether the caption is of the style that was asked for (``style_of``).
        ``fact_precision`` and ``fact_recall`` of what should be a paragraph (``fact_scores``).
        """
        scores: dict[str, float | None] = dict.fromkeys(self.score_names)
        if prompt.style in STYLES:
            scores["style_obeyed"] = float(style_of(caption) == prompt.style)
        if prompt.style == "paragraph":
            precision, recall = fact_scores(caption, self.scene(image_id))
            scores |= {"fact_precision": precision, "fact_recall": recall}
        return scores

    def _texts(
        self, scene: Scene, rng: Random, image_id: str
    ) -> tuple[tuple[str, ...], tuple[Prompt, ...]]:
        split, _, index = image_id.rpartition("-")
        pairs = [
            (style, text)
            for style in STYLES
            for text in self._captions(scene, style, f"{self.seed} {split} {index}")
        ]
        prompts = tuple(Prompt(style=style) for style, _ in pairs)
        return tuple(text for _, text in pairs), prompts

    def _captions(self, scene: Scene, style: str, place: str) -> tuple[str, ...]:
        """Return different captions of one style: of each style the same ones whatever the others."""
        rng = Random(f"style {style} {place}")
        texts: dict[str, None] = {}
        while len(texts) < self.captions_per_style:
            texts[write(style, scene, rng)] = None
        return tuple(texts)
