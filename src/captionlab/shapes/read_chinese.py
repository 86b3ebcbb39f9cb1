"""Reading Chinese: a sentence becomes claims, by a lexicon of phrases and a small grammar.

Punctuation and spaces are ignored, and so is the choice of measure word. A noun phrase without a
number names the one object it fits; after 有 it names any such object.
Every function yields (what was read, the place after it) for every way to read on from a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from captionlab.shapes.judge import Claim, Description, Mention
from captionlab.shapes.lexicon import CHINESE, Tokens, too_many_nouns, value_at

Claims = tuple[Claim, ...]
Mentions = tuple[Mention, ...]

_LONGEST = 120  # characters; no caption is longer
# 上方 is "above" after a noun and "at the top" by itself
_SIDE_PLACES = {"left": "left", "right": "right", "above": "top", "below": "bottom"}


def read_chinese(text: str) -> Iterator[Claims]:
    """Yield every reading of a sentence as claims; none where it is not a whole sentence."""
    characters = re.sub(r"[\s，。、；：！？,.;:!?]", "", text)
    tokens = CHINESE.tokens(characters) if len(characters) <= _LONGEST else None
    if tokens and not too_many_nouns(tokens):
        yield from _segments(tokens, 0, True)


def _segments(t: Tokens, i: int, first: bool) -> Iterator[Claims]:
    """Yield the claims of one or more clauses that reach the end of the sentence."""
    for claims, j in _clause(t, i):
        if not first and all(claim.name == "exists" for claim in claims):
            continue
        if j == len(t):
            yield claims
        else:
            after = j + (value_at(t, j, "and") is not None)
            for more in _segments(t, after, False):
                yield claims + more


def _clause(t: Tokens, i: int) -> Iterator[tuple[Claims, int]]:
    yield from _ground_clause(t, i)
    yield from _existence(t, i)
    yield from _fronted(t, i)
    for mentions, claims, j in _phrases(t, i):
        # a bare noun without a number is not a sentence: 红色圆形
        if all(mention.quantity == "exactly" or mention.quantity == "some" for mention in mentions):
            yield claims, j
        for said, k in _predicate(t, j, mentions):
            yield claims + said, k


def _skip(t: Tokens, i: int, category: str) -> int:
    """Return the place after an optional token."""
    return i + (value_at(t, i, category) is not None)


def _ground_clause(t: Tokens, i: int) -> Iterator[tuple[Claims, int]]:
    """Read 背景是深蓝色的 and 背景是草地和蓝天."""
    if value_at(t, i, "ground") is None or value_at(t, i + 1, "is") is None:
        return
    if value_at(t, i + 2, "meadow") is not None:
        yield (Claim("ground", value="meadow"),), i + 3
    words, j = _ground_words(t, i + 2)
    if words:
        yield tuple(Claim("ground", value=word) for word in words), _skip(t, j, "of")


def _ground_words(t: Tokens, i: int) -> tuple[list[str], int]:
    """Read tones and a color, each with or without 的."""
    words: list[str] = []
    while True:
        j = _skip(t, i, "of") if words else i
        word = value_at(t, j, "tone", "color")
        if word is None:
            return words, i
        words.append(word)
        i = j + 1


def _existence(t: Tokens, i: int) -> Iterator[tuple[Claims, int]]:
    """Read 图中有两个圆形; what follows need not be the only one of its kind."""
    j = _skip(t, i, "scene")
    if value_at(t, j, "have", "shows") is not None:
        j += 1
    elif j == i or value_at(t, j, "n") != "1":  # 图中只有一个图形
        return
    for _, claims, k in _phrases(t, j, loose=True):
        yield claims, k


def _fronted(t: Tokens, i: int) -> Iterator[tuple[Claims, int]]:
    """Read 左边有一个圆形, 方块的左边是一个圆形, 深色背景上有一个圆形."""
    for claim, inner, j in _where(t, i):
        if value_at(t, j, "have", "is") is None:
            continue
        for mentions, claims, k in _phrases(t, j + 1, loose=True):
            said = tuple(
                replace(claim, mentions=(mention, *claim.mentions)) for mention in mentions
            )
            yield claims + inner + said, k
    for words, j in _ground_place(t, i):
        if value_at(t, j, "have", "is") is not None:
            for _, claims, k in _phrases(t, j + 1, loose=True):
                yield claims + tuple(Claim("ground", value=word) for word in words), k


def _ground_place(t: Tokens, i: int) -> Iterator[tuple[list[str], int]]:
    if value_at(t, i, "meadow_at") is not None:
        yield ["meadow"], i + 1
    words, j = _ground_words(t, i)
    j = _skip(t, j, "of")
    if words and value_at(t, j, "ground_at") is not None:
        yield words, j + 1


def _where(t: Tokens, i: int) -> Iterator[tuple[Claim, Claims, int]]:
    """Read a place or a relation to other objects, as a claim whose subject is still missing."""
    place = value_at(t, i, "edge")
    if value_at(t, i, "center") is not None:
        place = "center"
    side = value_at(t, i, "side")
    if side is not None:
        place = _SIDE_PLACES[side]
    if place is not None:
        yield Claim("is", description=Description(place=place)), (), i + 1
    for mentions, claims, k in _phrases(t, i):
        k = _skip(t, k, "of")
        relation = value_at(t, k, "rel", "side")
        if relation is not None and len(mentions) == 1:
            yield Claim(relation, mentions), claims, k + 1
        if value_at(t, k, "between", "center") is not None:
            yield Claim("between", mentions), claims, k + 1


def _phrases(t: Tokens, i: int, *, loose: bool = False) -> Iterator[tuple[Mentions, Claims, int]]:
    """Read one or more noun phrases; 、 is gone, so 和 between them is optional."""
    for mention, claims, j in _phrase(t, i, loose):
        yield (mention,), claims, j
        after = _skip(t, j, "and")
        for mentions, more, k in _phrases(t, after, loose=loose):
            yield (mention, *mentions), claims + more, k


def _phrase(t: Tokens, i: int, loose: bool) -> Iterator[tuple[Mention, Claims, int]]:
    """Read one noun phrase: number, attributes in any order, noun."""
    kind = t[i][0] if i < len(t) else ""
    number = t[i][1] if kind in ("a", "n", "all") else ""
    i += kind in ("a", "n", "all")
    attribute = value_at(t, i, "different")
    if attribute is not None and value_at(t, i + 1, "of") is not None:
        i += 2
    description, i = _description(t, i)
    shape = value_at(t, i, "shape")
    if shape is None:
        return
    description = replace(description, shape=shape)
    if kind == "n":
        mention = Mention(description, "exactly", int(number))
    elif kind == "all":
        mention = Mention(description, "all")
    elif kind == "a" or (loose and not description.extreme):
        mention = Mention(description)
    else:
        mention = Mention(description, "the")
    claims: Claims = (Claim("exists", (mention,)),)
    if attribute is not None:
        claims += (Claim("different", (mention,), attribute),)
    yield mention, claims, i + 1


def _description(t: Tokens, i: int) -> tuple[Description, int]:
    """Read attributes, each kind at most once, each with or without 的."""
    description = Description()
    while i < len(t) and t[i][0] in ("extreme", "size", "color", "texture"):
        category, value = t[i]
        if getattr(description, category):
            break
        description = replace(description, **{category: value})
        i = _skip(t, i + 1, "of")
    return description, i


def _predicate(t: Tokens, i: int, subject: Mentions) -> Iterator[tuple[Claims, int]]:
    """Read what is said of a subject after it."""
    if value_at(t, i, "at") is not None:
        for claim, claims, j in _where(t, i + 1):
            said = tuple(replace(claim, mentions=(one, *claim.mentions)) for one in subject)
            yield claims + said, j
        for words, j in _ground_place(t, i + 1):
            yield tuple(Claim("ground", value=word) for word in words), j
    attribute = value_at(t, _skip(t, i, "of"), "same", "different")
    if attribute is not None:
        j = _skip(t, i, "of")
        yield (Claim(t[j][0], subject, attribute),), j + 1
    which = value_at(t, i, "extreme")
    if which is not None and value_at(t, i + 1, "of") is None:
        yield (Claim("extreme", subject, which),), i + 1
    yield from _comparison(t, i, subject)
    yield from _surrounded(t, i, subject)
    yield from _attributes(t, i, subject)


def _comparison(t: Tokens, i: int, subject: Mentions) -> Iterator[tuple[Claims, int]]:
    """Read 比方块大 and 挨着方块."""
    words = {"small": "smaller", "large": "larger", "smaller": "smaller", "larger": "larger"}
    if value_at(t, i, "than") is not None:
        for other, claims, j in _phrase(t, i + 1, False):
            word = words.get(value_at(t, j, "size", "more") or "")
            if word:
                yield (*claims, *(Claim(word, (one, other)) for one in subject)), j + 1
    if value_at(t, i, "touch") is not None:
        for other, claims, j in _phrase(t, i + 1, False):
            yield (*claims, *(Claim("beside", (one, other)) for one in subject)), j


def _surrounded(t: Tokens, i: int, subject: Mentions) -> Iterator[tuple[Claims, int]]:
    """Read 被圆环包围着 and 包围着星星."""
    if value_at(t, i, "by") is not None:
        for other, claims, j in _phrase(t, i + 1, False):
            if value_at(t, j, "around") is not None:
                yield (*claims, *(Claim("inside", (one, other)) for one in subject)), j + 1
    if value_at(t, i, "around") is not None:
        for other, claims, j in _phrase(t, i + 1, False):
            yield (*claims, *(Claim("around", (one, other)) for one in subject)), j


def _attributes(t: Tokens, i: int, subject: Mentions) -> Iterator[tuple[Claims, int]]:
    """Read 是红色的, 都是圆形, 很小, 带条纹, 是最大的图形, 是一个红色圆形."""
    i = _skip(t, i, "all_of")
    verb = value_at(t, i, "is") is not None
    i += verb
    article = verb and value_at(t, i, "a") is not None
    i += article
    description, j = _description(t, i)
    shape = value_at(t, j, "shape") if verb else None
    extreme, rest = description.extreme, replace(description, extreme="")
    if extreme:
        # 是最大的图形, but not 是最大的红色圆形: that compares red circles only
        if rest == Description() and (shape in ("", None)) and not article:
            yield (Claim("extreme", subject, extreme),), j + (shape == "")
    elif shape is not None:
        yield (Claim("is", subject, description=replace(rest, shape=shape)),), j + 1
    elif rest != Description() and not article and (verb or not rest.color):
        # 圆形是红色的 ends in 的, 圆形很小 and 圆形带条纹 do not
        ends_in_of = value_at(t, j - 1, "of") is not None
        said = Claim("is", subject, description=rest)
        yield from [((said,), j)] if verb == ends_in_of else []
