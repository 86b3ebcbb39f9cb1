"""What is given before a caption: a question, a style, a language, its first words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

from captionlab.core.errors import UserError, did_you_mean

ANSWER = "<answer>"  # stands between a question and its answer
STYLE = "<style:{}>"
LANGUAGE = "<language:{}>"
SIMILAR = "<similar>"  # stands before each caption of a similar image


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

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.language, self.style, self.question, self.beginning)))


NO_PROMPT = Prompt()


def control_tokens(prompts: Iterable[Prompt]) -> tuple[str, ...]:
    """Return the control tokens that these prompts need beside words, in a fixed order."""
    prompts = set(prompts)
    languages = {LANGUAGE.format(p.language) for p in prompts if p.language}
    styles = {STYLE.format(p.style) for p in prompts if p.style}
    answer = [ANSWER] if any(p.question for p in prompts) else []
    return (*sorted(languages), *sorted(styles), *answer)


class PromptEncoder(ABC):
    """What every tokenizer does with prompts: control tokens stand behind its words.

    ``controls``: texts of the control tokens, which no caption holds and no captioner writes.
    """

    controls: tuple[str, ...] = ()

    @property
    @abstractmethod
    def num_words(self) -> int:
        """How many ids there are without those of control tokens."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""

    @property
    def control_ids(self) -> tuple[int, ...]:
        """The ids of the control tokens, the last ones."""
        return tuple(range(self.num_words, self.num_words + len(self.controls)))

    def with_controls(self, controls: Sequence[str]) -> Self:
        """Return this tokenizer with these control tokens in place of its own.

        Raises:
            UserError: if they are not different texts.
        """
        if not all(isinstance(c, str) for c in controls) or len(set(controls)) < len(controls):
            raise UserError(
                "This tokenizer is damaged: its control tokens are not different texts."
            )
        tokenizer = copy(self)
        tokenizer.controls = tuple(controls)
        return tokenizer

    def stored_controls(self) -> dict[str, list[str]]:
        """Return the control tokens as a checkpoint holds them; nothing where there are none."""
        return {"controls": list(self.controls)} if self.controls else {}

    def with_stored_controls(self, entry: Mapping[str, object]) -> Self:
        """Return this tokenizer with the control tokens of a checkpoint's entry, if it has any.

        Raises:
            UserError: if they are not different texts.
        """
        controls = entry.get("controls", [])
        if not isinstance(controls, list):
            raise UserError(f"This tokenizer is damaged: its control tokens are {controls!r:.60}.")
        return self.with_controls(controls)

    def encode_prompt(self, prompt: Prompt, longest: int | None = None) -> list[int]:
        """Return the ids of a prompt: language, style, question, the caption's beginning.

        ``longest``: what is longer of a question, in tokens, is cut; None cuts nothing.

        Raises:
            UserError: for a style or a language that was not learned, and for a question where none
                was.
        """
        ids = [self._control("language", LANGUAGE, prompt.language)] if prompt.language else []
        if prompt.style:
            ids.append(self._control("style", STYLE, prompt.style))
        if prompt.question:
            self._require_questions(prompt)
            ids += [*self.encode(prompt.question)[:longest], self._control("question", ANSWER, "")]
        return ids + self.encode(prompt.beginning)

    def _control(self, what: str, pattern: str, value: str) -> int:
        control = pattern.format(value)
        self._require_learned(what, pattern, value)
        return self.num_words + self.controls.index(control)

    @property
    def languages(self) -> list[str]:
        """The languages that a prompt can ask for."""
        return self._learned(LANGUAGE)

    @property
    def styles(self) -> list[str]:
        """The styles that a prompt can ask for."""
        return self._learned(STYLE)

    @property
    def similar_id(self) -> int | None:
        """The id that stands before captions of similar images, None where none are given."""
        known = SIMILAR in self.controls
        return self.num_words + self.controls.index(SIMILAR) if known else None

    @property
    def answers(self) -> bool:
        """Whether a prompt can ask a question."""
        return ANSWER in self.controls

    def unasked(self, prompts: Iterable[Prompt]) -> list[str]:
        """Return what captions were learned behind ("questions", "styles") and no prompt asks for."""
        given = set(prompts)
        questions = self.answers and not any(prompt.question for prompt in given)
        styles = self.styles and not any(prompt.style for prompt in given)
        return [*(["questions"] if questions else ()), *(["styles"] if styles else ())]

    def _learned(self, pattern: str) -> list[str]:
        before, after = pattern.split("{}")
        return [c[len(before) : -len(after)] for c in self.controls if c.startswith(before)]

    def _require_learned(self, what: str, pattern: str, value: str) -> None:
        if pattern.format(value) in self.controls:
            return
        known = self._learned(pattern)
        reason = f"did not learn it; {did_you_mean(value, known)}" if known else f"knows no {what}s"
        raise UserError(f"{what} {value!r}: this captioner {reason}")

    def _require_questions(self, prompt: Prompt) -> None:
        if not self.answers:
            raise UserError(
                f"question {prompt.question!r}: this captioner was trained without questions; train "
                "one with data=shapes_questions, or on questions of your own"
            )
