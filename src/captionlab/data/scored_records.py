"""What is scored of an image with several prompts: each of them by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from torch import Tensor

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


def ids_by_prompt(
    records: Iterable[CaptionRecord],
    captions: Iterable[Sequence[Tensor]],
    remember: Callable[[int | str, int | str, Prompt], None],
) -> dict[int | str, list[list[int]]]:
    """Return the ids of each prompt's captions of each image, by ``scored_id``, without bos.

    ``captions``: those of each record, encoded. ``remember`` is told each prompt's id, image and
    prompt. Raises UserError if two prompts have one id.
    """
    owners: dict[int | str, tuple[int | str, Prompt]] = {}
    ids: dict[int | str, list[list[int]]] = {}
    for record, encoded in zip(records, captions, strict=True):
        prompts = record.prompts or (NO_PROMPT,) * len(record.captions)
        for prompt, caption in zip(prompts, encoded, strict=True):
            own = scored_id(record.image_id, prompt)
            ids.setdefault(own, []).append(caption[1:].tolist())
            if not prompt:
                continue
            if owners.setdefault(own, (record.image_id, prompt)) != (record.image_id, prompt):
                raise twice(own, owners[own][0], record.image_id)
            remember(own, record.image_id, prompt)
    return ids
