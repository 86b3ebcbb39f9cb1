"""What a server is asked about a picture, in words: for a caption or an answer, in a language, a style."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from captionlab.applications.endpoint.settings import require_text
from captionlab.core.errors import UserError
from captionlab.text.prompts import Prompt

PROMPTS = {
    "en": "Describe this image in one short sentence.",
    "de": "Beschreibe dieses Bild in einem kurzen Satz.",
    "zh": "用一句简短的话描述这张图片。",
}
ANSWERS = {
    "en": "{question} Answer with one word or a short phrase.",
    "de": "{question} Antworte mit einem Wort oder wenigen Wörtern.",
    "zh": "{question} 请用一个词或一个短语回答。",
}
STYLES = {"en": "Style: {style}.", "de": "Stil: {style}.", "zh": "风格：{style}。"}
LANGUAGE = "Language: {language}."
_PLACE = re.compile(r"\{(question|style|language)\}")


@dataclass(frozen=True)
class Wording:
    """Puts a prompt into words.

    Args:
        given: a template of the user's, None for the usual one of each language. It may have the
            places ``{question}``, ``{style}`` and ``{language}``; for what it has no place for, one
            follows it. Where a prompt has nothing for one of its places, the usual template serves.
        language: of the prompts that name none, such as "en".
    """

    given: str | None
    language: str

    def __post_init__(self) -> None:
        if self.given is not None:
            require_text("--prompt", self.given)

    def text(self, prompt: Prompt) -> str:
        """Return what is asked.

        Raises:
            UserError: for a language without a usual template, and for what is too long to be asked.
        """
        values = self._values(prompt)
        # in one pass: braces in a question are no place
        text = _PLACE.sub(lambda place: values[place[1]], self.template(prompt))
        require_text(f"what is asked ({text[:60]!r})", text)
        return text

    def template(self, prompt: Prompt) -> str:
        """Return the template that serves a prompt, with a place for all that the prompt gives.

        Raises:
            UserError: for a language without a usual template.
        """
        language = prompt.language or self.language
        given = self.given if self.serves(prompt) else None
        template = self._usual(prompt, language) if given is None else given
        follow = []
        if prompt.question and "{question}" not in template:
            follow.append("{question}")
        if prompt.style and "{style}" not in template:
            follow.append(STYLES.get(language, STYLES["en"]))
        if prompt.language and given is not None and "{language}" not in template:
            follow.append(LANGUAGE)
        return " ".join((template, *follow))

    def serves(self, prompt: Prompt) -> bool:
        """Return whether a prompt has something for each place of the user's template."""
        places = _PLACE.findall(self.given or "")
        return all(self._values(prompt)[place] for place in places)

    def require_served(self, prompts: Iterable[Prompt], where: str) -> None:
        """Refuse a template that serves no prompt of several.

        Raises:
            UserError: if it has a place for what none of them has; ``where`` says who would give it.
        """
        if not any(map(self.serves, prompts)):
            places = " and ".join(f"{{{place}}}" for place in _PLACE.findall(self.given or ""))
            raise UserError(f"--prompt has a place for {places}, and {where}")

    def _values(self, prompt: Prompt) -> dict[str, str]:
        language = prompt.language or self.language
        return {"question": prompt.question, "style": prompt.style, "language": language}

    def _usual(self, prompt: Prompt, language: str) -> str:
        usual = ANSWERS if prompt.question else PROMPTS
        if language not in usual:
            raise UserError(f"say what is asked in language {language!r}: --prompt TEXT")
        return usual[language]
