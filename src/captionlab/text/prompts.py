"""What is given before a caption: a question, a style, a language, its first words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a decoder reads before it writes; it carries no loss and is no part of the caption.

    ``question``: what the caption answers. ``style``: whose or what manner of captions it is one of.
    ``language``: such as "zh", of a captioner of several. ``beginning``: the caption's first words.
    Each is empty where nothing is said. ``id``: the question's own in its data set, None for none.
    """

    question: str = ""
    style: str = ""
    language: str = ""
    beginning: str = ""
    id: int | str | None = None

    def __bool__(self) -> bool:
        """Return whether anything is given."""
        return bool(self.question or self.style or self.language or self.beginning)


NO_PROMPT = Prompt()
