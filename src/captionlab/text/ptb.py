"""The words that coco-caption scores: Stanford's Penn Treebank tokenizer, without Java.

Pure Python, and equal to pycocoevalcap 1.2's ``PTBTokenizer`` (Stanford CoreNLP 3.4.1 with
``-preserveLines -lowerCase``, then its list of punctuation removed) on each of the 40,460 captions of
Flickr8k and on 900,000 generated lines of contractions, numbers, addresses, emoticons, quotes and odd
Unicode. The rules were measured on that program's answers; none of its code was used.

What remains different: the original reads all captions as one text, so the first word of the *next*
caption may decide whether the last "J." or "no." of a caption is an abbreviation. Here every caption
stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from captionlab.text import ptb_tables as tables

_PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])


def _char_class(hexadecimal: str, length: int = 1) -> str:
    """Return ranges like ``"41-5a 61"`` as the inside of a regular expression's character class."""
    parts = []
    for item in hexadecimal.split():
        first, _, last = item.partition("-")
        low = int(first, 16)
        high = int(last, 16) if last else low + length - 1
        parts.append(f"\\u{low:04x}-\\u{high:04x}")
    return "".join(parts)


def _any(words: str) -> str:
    """Return an alternation of words, longest first, in any case."""
    ordered = sorted(words.split(), key=len, reverse=True)
    return f"(?ai:{'|'.join(map(re.escape, ordered))})"


_D = _char_class(tables.DIGITS, 10)
_L = _char_class(tables.LETTERS)
_W = _L + _char_class(tables.MARKS)  # may begin a word
_A = _L + _D  # letters and digits
_FIRST = rf"(?:[{_W}]|&(?ai:[aeiou](?:acute|grave|uml));)"
_PLAIN = rf"{_FIRST}(?:[{_D}]|{_FIRST})*"
_WORD = rf"{_PLAIN}(?:[.!?]{_PLAIN})*"
_APOS = r"(?:['’\x92]|&apos;)"
_ANY_APOS = r"(?:['’`‘‛\x91\x92]|&apos;)"
_ELISION = rf"(?:[dDoOlL]{_ANY_APOS}[{_A}])?[{_A}]+"  # o'clock, d'etat
_THING = rf"{_ELISION}(?:[-_\u058a\u2010\u2011]{_ELISION})*"
_ACRONYM = r"[A-Za-z](?:\.[A-Za-z])+"
_DOTTED = rf"[A-Za-z0-9][A-Za-z0-9.,\xad]*(?:-(?:{_ACRONYM}\.|[A-Za-z0-9\xad]+))+"
_FIRM = r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+"  # AT&T
_SLASHED = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_CONTRACTED = r"(?ai:s|d|m|ll|re|ve)"
_URL = r"[^\s\"<>|(){}]"
_URL_END = r"[^\s\"<>|.!?(){},-]"
_PATH = rf"(?:/[^\s\"<>|()]+{_URL_END})?"
_STATE = "|".join(f"{s[0].upper()}(?ai:{s[1:]})" for s in tables.STATES.split())
_COMPANY = r"[pP]{1,2}[tT][ye][sS]?"
_ENDING = rf"(?:{_any(tables.ENDINGS)}|{_STATE}|{_COMPANY}|(?ai:ph\.d))\."
_STARTER = "|".join(f(w) for w in tables.STARTERS.split() for f in (str.capitalize, str.upper))
_TAG = (
    r"<(?:[!?][A-Za-z-][^>]*|/[A-Za-z][A-Za-z0-9_:.-]* ?|[A-Za-z][A-Za-z0-9_:.-]*"
    r"(?: (?:[A-Za-z][A-Za-z0-9_:.-]*(?: ?= ?(?:'[^']*'|\"[^\"]*\"))?)?)* ?/? ?)>"
)
_QUOTE_MARKS = "`‘’‛“”‟„‚«»‹›\x91-\x94"

_QUOTES = str.maketrans(
    dict.fromkeys("‘‛‹\x91", "`")
    | dict.fromkeys("’›\x92", "'")
    | dict.fromkeys("“«\x93", "``")
    | dict.fromkeys("”»\x94", "''")
)
_PARENTHESES = str.maketrans({"(": "-lrb-", ")": "-rrb-"})
_SIGNS = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
    "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "¢": "cents", "£": "#",
    "€": "$", "\x80": "$", "¤": "$", "₠": "$",
}  # fmt: skip
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}  # the others become punctuation


def _same(token: str) -> str:
    return token


def _drop(token: str) -> str:
    return ""


def _joined(token: str) -> str:
    return token.replace("\xad", "")


def _apostrophe(token: str) -> str:
    return token.replace("&apos;", "'").translate(_QUOTES)


def _brackets(token: str) -> str:
    return token.translate(_PARENTHESES)


# Tried in this order, and the one that reaches farthest wins, the first among equals. A group 1 is
# the token itself; what follows it was only looked at, but counts as reached. Odd spots are the
# original's own: hosts without a scheme may hold nothing from "," to "_" (no capital, no digit).
_RULES: list[tuple[str, Callable[[str], str]]] = [
    (_TAG, _same),
    *((rf"((?ai:{a}))(?ai:{b})", _same) for a, b in tables.SPLITS.values()),
    (r"((?:'|&apos;)[tT])(?ai:is|was)", _apostrophe),
    (rf"([A-Za-z\xad]*[A-MO-Za-mo-z])[nN]{_ANY_APOS}[tT]", _joined),
    (rf"[nN]{_ANY_APOS}[tT]", _apostrophe),
    (rf"('{_CONTRACTED})[^A-Za-z]", _same),
    (rf"(?:[’\x92]|&apos;){_CONTRACTED}", _apostrophe),
    (rf"({_WORD}){_APOS}{_CONTRACTED}", _joined),
    (_WORD, _joined),
    (rf"(?ai:https?)://{_URL}+{_URL_END}", _same),
    (rf"(?ai:www)\.(?:[^\s\"<>|.!?(){{}},]+\.)+[A-Za-z]{{2,4}}{_PATH}", _same),
    (rf"(?:[^\s\"`'<>|.!?(){{}},-_$]+\.)+(?ai:com|net|org|edu){_PATH}", _same),
    (
        r"(?:<|&lt;)?[A-Za-z0-9][^\s\"<>|(){}]*@"
        r"(?:[^\s\"<>|().{}]+\.)*[^\s\"<>|().{}]+(?:>|&gt;)?",
        _same,
    ),
    (r"@[A-Za-z_][A-Za-z0-9_]*|@+", _same),
    (rf"#[{_W}]+|#+", _same),
    (_THING, _same),
    (rf"({_ENDING})[\s\S]{{2}}", _same),
    (_DOTTED, _joined),
    (rf"{_SLASHED}(?:\\?/{_SLASHED}){{1,2}}", _same),
    (_FIRM, lambda token: token.replace("&amp;", "&")),
    (r"[cC]\+\+|[cCfF]#", _same),
    (rf"[{_L}]+[aeiouyAEIOUY]{_ANY_APOS}[aeiouA-Z][{_L}]*", _same),
    (rf"[A-HJ-XZn]{_ANY_APOS}[{_L}]{{2,}}", _same),
    (rf"[oO]{_ANY_APOS}[oO]", _same),
    (_any(tables.APOSTROPHE_WORDS), _same),
    (r"(?ai:anti|pro)-", _same),
    (rf"(?ai:[dlj]|ol){_APOS}", _same),
    (rf"([yY]{_APOS})[{_L}]", _same),
    (rf"{_APOS}(?ai:em|till?|cause)|{_APOS}[nN]{_APOS}|(?:’|&apos;)[nN]", _same),
    (rf"('[nN]|{_APOS}[0-9]{{2}})\s", _same),
    (rf"{_APOS}[2-9]0[sS]", _same),
    (rf"[-+]?(?:[{_D}]*(?:[.,:٫٬\xad][{_D}]+)+|[{_D}]+)", _joined),
    (rf"(?:[{_D}]{{1,4}}[- ])?[{_D}]{{1,4}}(?:\\?/|⁄)[{_D}]{{1,4}}", _same),
    (rf"[{_D}]{{1,2}}[-/][{_D}]{{1,2}}[-/][{_D}]{{2,4}}", _same),
    (
        r"(?:\([0-9]{2,3}\) ?|(?:\+\+?)?(?:[0-9]{2,4}[- ])?[0-9]{2,4}[- ])"
        r"[0-9]{3,4}[- ]?[0-9]{3,5}",
        _brackets,
    ),
    (r"(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}", _same),
    (rf"{_ENDING}|{_any(tables.TITLES)}\.|[mM](?:f|t)[gG]\.", _same),
    (rf"({_any(tables.NUMBERED)}\.) ?[{_D}]", _same),
    (rf"([A-Za-z])\. (?:{_STARTER}|(?:M[rs]|M[RS])\.|{_TAG})\s", _same),
    (rf"(?:{_ACRONYM}|[A-Za-z])\.", _same),
    (rf"([{_W}{_D}]+(?:\.[{_W}{_D}]+)*\.{_any(tables.FILES)})[\s.,!?]", _same),
    *((rf"({word}\.)[,:;]", _joined) for word in (_WORD, _THING, _FIRM, _DOTTED)),
    (r"([<>]?[:;=][-o*']?[()DPdp@O\\{|\[\]])[^A-Za-z0-9]", _brackets),
    (
        r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)",
        _brackets,
    ),
    (r"(?ai:-[lr][rcs]b-)", _same),
    (r"''|\.{3,}|\.(?: \.){2,}|-{1,4}|[–—―\x96\x97\"'…]", _drop),
    (r"-{5,}|_+|[!?]+|\*+|(?:\\\*)+|[²³¹⁰⁴-⁹]+|[₀-₉]+|<<|>>|[A-Z]+\$", _same),
    (rf"[{_QUOTE_MARKS}]{{1,2}}", _apostrophe),
    (r"&(?:quot|apos|(?ai:nbsp|[nm]dash));", _drop),
    (r"&(?ai:amp|lt|gt);", lambda t: _ENTITIES[t.lower()]),
    (r"&(?:#[0-9]+|(?ai:quot|apos));", _same),
    (r"[][(){}½¼¾⅓⅔¢£€\x80¤₠]", _SIGNS.__getitem__),
    (rf"[!-/:-@\\^|~{_char_class(tables.SYMBOLS)}]", _same),
]


@cache
def _compiled() -> list[tuple[re.Pattern[str], Callable[[str], str]]]:
    return [(re.compile(pattern), change) for pattern, change in _RULES]


# Where a space does not end a token: tags, telephone numbers, "1 1/2", ". . .", "no. 5", "J. The".
_ACROSS_SPACES = re.compile(r"<|[0-9)]\s+[0-9]|\.\s+[.\d]|(?<![A-Za-z])[A-Za-z]\.\s+[A-Z]")
_CACHE_LIMIT = 1 << 16
_LONGEST_CACHED = 40
_cache: dict[str, tuple[str, ...]] = {}


def ptb_tokens(text: str) -> list[str]:
    """Return the lower-case tokens coco-caption scores for this caption, its punctuation removed.

    Any text is safe: line breaks of every kind count as spaces, and what the original cannot read
    (emoji, control characters, lone surrogates) is dropped. A token may hold a no-break space where
    the original joins words ("1\\xa01/2").
    """
    words = text.split()
    if _ACROSS_SPACES.search(text):
        return _lex(" ".join(words))
    tokens: list[str] = []
    for word in words:
        known = _cache.get(word)
        tokens += _remember(word) if known is None else known
    return tokens


def _remember(word: str) -> tuple[str, ...]:
    """Return the tokens of one word without spaces, and keep them for the next time."""
    lower = word.lower()
    tokens: tuple[str, ...]
    if word.isascii() and word.isalpha():
        tokens = tables.SPLITS.get(lower, (lower,))
    else:
        tokens = tuple(_lex(word))
    if len(word) <= _LONGEST_CACHED:
        if len(_cache) >= _CACHE_LIMIT:
            _cache.clear()
        _cache[word] = tokens
    return tokens


def _lex(line: str) -> list[str]:
    """Return the tokens of a line whose words are separated by single spaces: longest match."""
    text = line + "\n\n"
    rules = _compiled()
    tokens = []
    position = 0
    while position < len(line):
        reached, end = position, position + 1
        change: Callable[[str], str] = _drop
        if text[position] != " ":
            for pattern, rule_change in rules:
                match = pattern.match(text, position)
                if match and match.end() > reached:
                    reached, end, change = match.end(), match.end(pattern.groups), rule_change
        token = change(text[position:end]).replace(" ", "\xa0").lower()
        if token and token not in _PUNCTUATION:
            tokens.append(token)
        position = end
    return tokens
