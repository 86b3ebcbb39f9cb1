"""What is scored of an image with several prompts: each of them by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from captionlab.core.errors import UserError
from captionlab.data.records import CaptionRecord
from captionlab.text.prompts import NO_PROMPT, Prompt


def scored_records(records: Sequence[CaptionRecord]) -> Sequence[CaptionRecord]:
    """Return one record for each prompt of each image, with the captions that answer to it.

    Records without prompts stay what they are.

    Raises:
        UserError: if two of them would have one id.
    """
    if not any(record.prompts for record in records):
        return records
    parts: dict[int | str, CaptionRecord] = {}
    for part in (part for record in records for part in _parts(record)):
        if part.image_id in parts:
            raise twice(part.image_id, parts[part.image_id].stored_id, part.stored_id)
        parts[part.image_id] = part
    return list(parts.values())


def twice(question_id: int | str, image_id: int | str, other: int | str) -> UserError:
    """Return the refusal of a question's id that another one, of the image ``other``, has too."""
    return UserError(
        f"two questions have the id {question_id!r}, of the images {image_id!r} and {other!r}: "
        "give each its own"
    )


def scored_id(image_id: int | str, prompt: Prompt) -> int | str:
    """Return the id of what is scored of an image: the prompt's own, or the image's with the prompt."""
    if not prompt:
        return image_id
    if prompt.id is None:
        return f"{image_id}: {prompt}"
    # one question may be answered in several styles
    beside = str(replace(prompt, question="", beginning=""))
    return f"{prompt.id}: {beside}" if beside else prompt.id


def in_language(records: Sequence[CaptionRecord], language: str) -> list[CaptionRecord]:
    """Return the records with this language asked for, where they ask for none."""
    return [
        replace(
            record,
            prompts=tuple(
                prompt if prompt.language else replace(prompt, language=language)
                for prompt in record.prompts or (NO_PROMPT,) * len(record.captions)
            ),
        )
        for record in records
    ]


def _parts(record: CaptionRecord) -> list[CaptionRecord]:
    if not any(record.prompts):
        return [record]
    captions: dict[Prompt, list[str]] = {}
    for prompt, caption in zip(record.prompts, record.captions, strict=True):
        captions.setdefault(prompt, []).append(caption)
    return [
        replace(
            record,
            image_id=scored_id(record.image_id, prompt),
            captions=tuple(texts),
            prompts=(prompt,) * len(texts),
            picture_id=record.image_id,
        )
        for prompt, texts in captions.items()
    ]
