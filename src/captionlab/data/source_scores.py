"""What a source tells of captions by itself: their truth, and scores of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from captionlab.data.records import CaptionRecord, CaptionSource
from captionlab.text.prompts import NO_PROMPT, Prompt


@runtime_checkable
class Truthful(Protocol):
    """A source that can tell whether a caption is true of one of its images."""

    def truth(self, image_id: int | str, caption: str) -> bool:
        """Return whether all that the caption says holds."""
        ...


@runtime_checkable
class Scoring(Protocol):
    """A source that scores captions by itself, beside truth (``metrics.own_scores``)."""

    score_names: tuple[str, ...]

    def caption_scores(
        self, image_id: int | str, caption: str, prompt: Prompt
    ) -> Mapping[str, float | None]:
        """Return the scores by name of what was written of an image behind a prompt.

        None where a score says nothing of this caption.
        """
        ...


class SourceScores:
    """Asks a source about captions by the ids of scored records, which it does not know itself."""

    def __init__(self, source: CaptionSource) -> None:
        self._source = source
        # scored id -> the image's own, and what was given before its caption
        self._asked: dict[int | str, tuple[int | str, Prompt]] = {}

    def remember(self, scored_id: int | str, image_id: int | str, prompt: Prompt) -> None:
        """Take note of the image and the prompt behind the id of a scored record."""
        self._asked[scored_id] = (image_id, prompt)

    def remember_records(self, records: Iterable[CaptionRecord]) -> None:
        """Take note of the records that are one prompt of an image."""
        for record in records:
            if record.picture_id is not None:
                self.remember(record.image_id, record.picture_id, record.prompts[0])

    def prompt(self, scored_id: int | str) -> Prompt:
        """Return what is given before the caption of a scored record."""
        return self._asked.get(scored_id, (scored_id, NO_PROMPT))[1]

    @property
    def truth(self) -> Callable[[int | str, str], bool] | None:
        """Decides whether a caption is true of an image, None where the source cannot tell."""
        source = self._source
        if not isinstance(source, Truthful):
            return None
        return lambda scored_id, caption: source.truth(self._image(scored_id), caption)

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that ``scores`` gives, none where the source brings none."""
        return self._source.score_names if isinstance(self._source, Scoring) else ()

    def scores(self, scored_id: int | str, caption: str) -> Mapping[str, float | None]:
        """Return the source's own scores of a caption behind what was asked of its image."""
        assert isinstance(self._source, Scoring)  # names are none otherwise
        image_id, prompt = self._asked.get(scored_id, (scored_id, NO_PROMPT))
        return self._source.caption_scores(image_id, caption, prompt)

    def _image(self, scored_id: int | str) -> int | str:
        return self._asked.get(scored_id, (scored_id, NO_PROMPT))[0]
