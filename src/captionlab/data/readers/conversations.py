"""Conversations about pictures, as LLaVA and ShareGPT keep them: the answers are the captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.readers.fields import file_name, named, text
from captionlab.data.readers.files import read_lines
from captionlab.data.readers.json_files import read_json
from captionlab.data.readers.object_rows import array_items, jsonl_items
from captionlab.data.readers.table_rows import Row
from captionlab.data.readers.tables import TableReader, table_file
from captionlab.text.prompts import Prompt

HUMAN = frozenset(("human", "user"))
ANSWER = frozenset(("gpt", "assistant", "model", "chatgpt", "bot"))
TURNS = ("conversations", "conversation", "messages")
IMAGES = ("image", "images", "image_path")
SIGNS = ("<image>", "<img>", "</img>")  # where the picture stands in a question


class Conversations(TableReader):
    """LLaVA's and ShareGPT's JSON (or JSON Lines): each answer is a caption of its image.

    Liu et al., "Visual Instruction Tuning", NeurIPS 2023. The question that an answer is to stands
    in the record. Conversations without an image are left out; one about several is refused.
    """

    LAYOUT = (
        'ROOT/captions.json: [{"image": "a.jpg", "conversations": [{"from": "human", "value": '
        '"<image>\\nWhat is this?"}, {"from": "gpt", "value": "A dog."}]}], the pictures below ROOT'
    )

    def __init__(
        self,
        *,
        file: str = "captions.json",
        root: str | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        path, folder = table_file(file, root, self.LAYOUT)
        if path.suffix == ".jsonl":
            items = jsonl_items(path, read_lines(path, encoding))
        else:
            data = read_json(path, encoding)
            if not isinstance(data, list):
                raise UserError(f"{path} holds {named(data)[:60]}, no array of conversations")
            items = array_items(data)
        rows = conversation_rows(path, items)
        form = f"conversations {path.name}"
        super().__init__({path: rows}, root=folder, language=language, form=form)


def is_conversation(item: object) -> bool:
    """Return whether a value looks like one conversation about an image."""
    return isinstance(item, dict) and any(isinstance(item.get(key), list) for key in TURNS)


def conversation_rows(file: Path, items: Iterator[tuple[str, object]]) -> Iterator[Row]:
    """Yield one row a conversation; UserError with its place where it is none."""
    for place, item in items:
        where = f"{file}{place}"
        if not isinstance(item, dict) or not is_conversation(item):
            raise UserError(f"{where} is no conversation: it has no list {TURNS[0]!r}")
        key = next((key for key in IMAGES if item.get(key)), None)
        if key is None:
            continue
        image = item[key]
        if isinstance(image, list):
            if len(image) > 1:
                raise UserError(f"{where} is about {len(image)} images, and a caption about one")
            image = image[0]
        turns = next(item[key] for key in TURNS if isinstance(item.get(key), list))
        prompts, answers = _pairs(turns, where)
        yield Row(place, file_name(image, where, key), answers, prompts=prompts)


def _pairs(turns: Sequence[object], where: str) -> tuple[list[Prompt], list[str]]:
    """Return the questions and the answers to them."""
    prompts: list[Prompt] = []
    answers: list[str] = []
    asked = ""
    for index, turn in enumerate(turns):
        place = f"{where}: turn {index}"
        if not isinstance(turn, Mapping):
            raise UserError(f"{place} is {named(turn)}, no object with 'from' and 'value'")
        speaker = str(turn.get("from", turn.get("role", ""))).lower()
        key = "value" if "value" in turn else "content"
        content = _without_signs(_content(turn.get(key), place, key))
        if speaker in HUMAN:
            asked = content
        elif speaker in ANSWER:
            prompts.append(Prompt(question=asked))
            answers.append(content)
        elif speaker != "system":
            raise UserError(f"{place} has the speaker {speaker[:40]!r}: neither human nor gpt")
    return prompts, answers


def _content(value: object, where: str, key: str) -> str:
    """Return what a turn says; of parts as chat APIs have them, the text ones."""
    if isinstance(value, list):
        parts = (part.get("text") or "" for part in value if isinstance(part, Mapping))
        return " ".join(text(part, where, key) for part in parts)
    return text(value, where, key)


def _without_signs(content: str) -> str:
    for sign in SIGNS:
        content = content.replace(sign, " ")
    return content.strip()
