"""Which tokens a score counts, by language: PTB words, or characters for Chinese."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from captionlab.core.errors import UserError, did_you_mean
from captionlab.text.ptb import ptb_tokens

# Scripts written without spaces: Han (with 々 and 〇), kana, bopomofo, Hangul.
CJK = (
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3040-\u312f"
    "\u3130-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_CHARACTERS = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")


def character_tokens(text: str) -> list[str]:
    """Return the tokens of a Chinese caption: each CJK character, each run of other letters or digits.

    The text is NFKC-normalized (full-width forms become plain ones) and lower-cased; punctuation of
    every script, symbols, emoji and spaces are dropped.
    """
    tokens: list[str] = _CHARACTERS.findall(unicodedata.normalize("NFKC", text).lower())
    return tokens


_SCORING: dict[str, Callable[[str], list[str]]] = {
    "de": ptb_tokens,
    "en": ptb_tokens,
    "zh": character_tokens,
}


_CJK = re.compile(f"[{CJK}]")


def _by_script(text: str) -> list[str]:
    return character_tokens(text) if _CJK.search(text) else ptb_tokens(text)


def scoring_tokenizer(language: str) -> Callable[[str], list[str]]:
    """Return the function that turns a caption of this language (de, en or zh) into scored tokens.

    Of several languages, such as ``en+zh``, each caption is told by its script.

    Raises:
        UserError: for another language.
    """
    if "+" in language:
        rules = {scoring_tokenizer(one) for one in language.split("+")}
        return rules.pop() if len(rules) == 1 else _by_script
    if language not in _SCORING:
        hint = did_you_mean(language, _SCORING)
        raise UserError(
            f"data.language={language!r} has no scoring rule: {hint} "
            "(en serves other languages written with spaces, zh those written without)."
        )
    return _SCORING[language]
