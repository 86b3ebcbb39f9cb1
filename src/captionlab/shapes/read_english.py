"""Reading English: a sentence becomes claims, by a lexicon of phrases and a small grammar.

Punctuation is ignored, and `a`/`an` and `there is`/`there are` are interchangeable, because they
change nothing that is claimed; a word that is unknown or out of place leaves no reading.
Every function yields (what was read, the place after it) for every way to read on from a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from captionlab.shapes.judge import Claim, Description, Mention
from captionlab.shapes.lexicon import ENGLISH, Tokens, too_many_nouns, value_at

Claims = tuple[Claim, ...]
Mentions = tuple[Mention, ...]

_LONGEST = 48  # words; no caption is longer


def read_english(text: str) -> Iterator[Claims]:
    """Yield every reading of a sentence as claims; none where it is not a whole sentence."""
    words = re.sub(r"[.,:;!?\"'()]", " ", text.lower()).split()
    tokens = ENGLISH.tokens(words) if len(words) <= _LONGEST else None
    if tokens and not too_many_nouns(tokens):
        yield from _segments(tokens, 0, True)


def _segments(t: Tokens, i: int, first: bool) -> Iterator[Claims]:
    """Yield the claims of one or more clauses that reach the end of the sentence."""
    for claims, j in _clause(t, i):
        # "a star is on the left and a ring" says nothing of the ring: not a sentence
        if not first and all(claim.name == "exists" for claim in claims):
            continue
        if value_at(t, j, "skip") is not None:
            j += 1
        if j == len(t):
            yield claims
        else:
            after = j + (value_at(t, j, "and") is not None)
            for more in _segments(t, after, False):
                yield claims + more


def _clause(t: Tokens, i: int) -> Iterator[tuple[Claims, int]]:
    if value_at(t, i, "exist", "skip") is not None:
        if value_at(t, i + 1, "meadow_clause") is not None:
            yield (Claim("ground", value="meadow"),), i + 2
        for _, claims, j in _phrases(t, i + 1):
            yield claims, j
        return
    yield from _ground_clause(t, i)
    yield from _fronted(t, i)
    for mentions, claims, j in _phrases(t, i):
        yield claims, j
        for said, k in _predicate(t, j, mentions):
            yield claims + said, k


def _ground_clause(t: Tokens, i: int) -> Iterator[tuple[Claims, int]]:
    """Read "the background is dark green"."""
    named = value_at(t, i, "the") is not None and value_at(t, i + 1, "ground") is not None
    if named and value_at(t, i + 2, "is") == "one":
        words, j = _ground_words(t, i + 3)
        if words:
            yield tuple(Claim("ground", value=word) for word in words), j


def _ground_words(t: Tokens, i: int) -> tuple[list[str], int]:
    words = []
    while (word := value_at(t, i, "tone", "color")) is not None:
        words.append(word)
        i += 1
    return words, i


def _fronted(t: Tokens, i: int) -> Iterator[tuple[Claims, int]]:
    """Read "to the left of a star there is a ring": the place or relation comes first."""
    for where, j in _where(t, i):
        if value_at(t, j, "exist", "is", "stands") is not None:
            j += 1
        for mentions, claims, k in _phrases(t, j):
            located = tuple(c for mention in mentions for c in where((mention,)))
            yield claims + located, k


def _where(t: Tokens, i: int) -> Iterator[tuple[_Said, int]]:
    """Yield what a place, a relation or a background says, as a function of its subject."""
    place = value_at(t, i, "place")
    if place is not None:
        yield _Said("is", description=Description(place=place)), i + 1
    relation = value_at(t, i, "rel", "than", "verb")
    if relation is not None:
        for mentions, claims, j in _phrases(t, i + 1):
            yield _Said(relation, mentions, claims), j
    if value_at(t, i, "between") is not None:
        for mentions, claims, j in _phrases(t, i + 1):
            yield _Said("between", mentions, claims, together=True), j
    if value_at(t, i, "meadow") is not None:
        yield _Said("ground", words=("meadow",)), i + 1
    if value_at(t, i, "before") is not None and value_at(t, i + 1, "a", "the") is not None:
        words, j = _ground_words(t, i + 2)
        if words and value_at(t, j, "ground") is not None:
            yield _Said("ground", words=tuple(words)), j + 1


class _Said:
    """Something said of a subject not known yet; calling it with the subject gives claims."""

    def __init__(
        self,
        name: str,
        objects: Mentions = (),
        claims: Claims = (),
        *,
        description: Description | None = None,
        words: Sequence[str] = (),
        together: bool = False,
    ) -> None:
        self.name, self.objects, self.claims = name, objects, claims
        self.description, self.words, self.together = description, words, together

    def __call__(self, subject: Mentions) -> Claims:
        if self.name == "ground":
            return tuple(Claim("ground", value=word) for word in self.words)
        if self.description is not None:
            return (Claim(self.name, subject, description=self.description),)
        if self.together:
            return (*self.claims, *(Claim(self.name, (one, *self.objects)) for one in subject))
        pairs = ((one, other) for one in subject for other in self.objects)
        return (*self.claims, *(Claim(self.name, pair) for pair in pairs))


def _phrases(t: Tokens, i: int) -> Iterator[tuple[Mentions, Claims, int]]:
    """Read one or more noun phrases; commas are gone, so "and" between them is optional."""
    for mention, claims, j in _phrase(t, i):
        yield (mention,), claims, j
        after = j + (value_at(t, j, "and") is not None)
        for mentions, more, k in _phrases(t, after):
            yield (mention, *mentions), claims + more, k


def _phrase(t: Tokens, i: int) -> Iterator[tuple[Mention, Claims, int]]:
    """Read one noun phrase with all that modifies it."""
    quantity = t[i] if i < len(t) else ("", "")
    if quantity[0] not in ("a", "the", "n", "the_n", "all", "each"):
        return
    for description, j in _description(t, i + 1):
        head = value_at(t, j, "shapes" if quantity[0] in ("the_n", "all") else "shape", "shapes")
        plural = value_at(t, j, "shapes") is not None
        if head is None or not _agrees(quantity, plural):
            continue
        for whole, k in _restricted(t, j + 1, replace(description, shape=head)):
            mention = _mention(quantity, plural, whole)
            for claims, end in _modifiers(t, k, mention):
                yield mention, (Claim("exists", (mention,)), *claims), end


def _agrees(quantity: tuple[str, str], plural: bool) -> bool:
    kind, number = quantity
    if kind == "the":
        return True
    single = kind in ("a", "each") or (kind == "n" and number == "1")
    return plural != single


def _mention(quantity: tuple[str, str], plural: bool, description: Description) -> Mention:
    kind, number = quantity
    if kind == "a":
        return Mention(description)
    if kind == "the":
        return Mention(description, "all" if plural else "the")
    if kind in ("all", "each"):
        return Mention(description, "all", int(number))
    return Mention(description, "exactly", int(number))


def _description(t: Tokens, i: int) -> Iterator[tuple[Description, int]]:
    """Read adjectives, each kind at most once; yields after every one of them."""
    description = Description()
    yield description, i
    while i < len(t) and t[i][0] in ("extreme", "size", "color", "texture"):
        category, value = t[i]
        if getattr(description, category):
            return
        description = replace(description, **{category: value})
        i += 1
        yield description, i


def _restricted(t: Tokens, i: int, description: Description) -> Iterator[tuple[Description, int]]:
    """Read "with stripes" and "on the left": they tell which object is meant."""
    texture = value_at(t, i, "with_texture")
    if texture is not None and not description.texture:
        yield from _restricted(t, i + 1, replace(description, texture=texture))
        return
    yield description, i
    place = value_at(t, i, "place")
    if place is not None:
        yield replace(description, place=place), i + 1


def _modifiers(t: Tokens, i: int, mention: Mention) -> Iterator[tuple[Claims, int]]:
    """Read what follows a noun: relations, "with a star inside it", "that is red", a background."""
    yield (), i
    for claims, j in _modifier(t, i, mention):
        for more, k in _modifiers(t, j, mention):
            yield claims + more, k


def _modifier(t: Tokens, i: int, mention: Mention) -> Iterator[tuple[Claims, int]]:
    attribute = value_at(t, i, "of_different")
    if attribute is not None:
        yield (Claim("different", (mention,), attribute),), i + 1
    if value_at(t, i, "that") is not None and value_at(t, i + 1, "is") is not None:
        yield from _predicate(t, i + 1, (mention,))
    if value_at(t, i, "with") is not None:
        for other, claims, j in _phrase(t, i + 1):
            name = value_at(t, j, "rel_it") or (value_at(t, j, "rel") == "inside" and "inside")
            if name:
                yield (*claims, Claim(name, (other, mention))), j + 1
    if value_at(t, i, "verb", "than") is None:
        for where, j in _where(t, i):
            yield where((mention,)), j


def _predicate(t: Tokens, i: int, subject: Mentions) -> Iterator[tuple[Claims, int]]:
    """Read what is said of a subject after it: "is red", "sits below a star", "have stripes"."""
    many = len(subject) > 1 or subject[0].quantity not in ("some", "the")
    many = many and subject[0].count != 1
    for name in ("same", "different"):
        attribute = value_at(t, i, name)
        if attribute is not None:
            yield (Claim(name, subject, attribute),), i + 1
    texture = value_at(t, i, "has_texture")
    if texture is not None and not many:
        yield (Claim("is", subject, description=Description(texture=texture)),), i + 1
    if value_at(t, i, "seen") is not None:
        yield (), i + 1
    if value_at(t, i, "verb") is not None and not many:
        for where, j in _where(t, i):
            yield where(subject), j
    verb = value_at(t, i, "is", "stands")
    if verb == ("many" if many else "one"):
        yield from _complements(t, i + 1, subject, many)


def _complements(t: Tokens, i: int, subject: Mentions, many: bool) -> Iterator[tuple[Claims, int]]:
    for claims, j in _complement(t, i, subject, many):
        yield claims, j
        if value_at(t, j, "and") is not None:
            for more, k in _complements(t, j + 1, subject, many):
                yield claims + more, k


def _complement(t: Tokens, i: int, subject: Mentions, many: bool) -> Iterator[tuple[Claims, int]]:
    """Read one complement: adjectives, "a red star", "the largest of all", a place, a relation."""
    for where, j in _where(t, i):
        if value_at(t, i, "verb") is None:
            yield where(subject), j
    noun = value_at(t, i, "a") is not None
    for description, j in _description(t, i + noun):
        head = value_at(t, j, "shapes" if many else "shape")
        if head is not None and noun != many and not description.extreme:
            said = replace(description, shape=head)
            yield (Claim("is", subject, description=said),), j + 1
        elif not noun and description != Description() and not description.extreme:
            yield (Claim("is", subject, description=description),), j
    yield from _superlative(t, i, subject)


def _superlative(t: Tokens, i: int, subject: Mentions) -> Iterator[tuple[Claims, int]]:
    """Read "the largest", "the largest shape", "the largest of the three shapes"."""
    which = value_at(t, i + 1, "extreme")
    if value_at(t, i, "the") is None or which is None:
        return
    claims: Claims = (Claim("extreme", subject, which),)
    i += 2
    i += value_at(t, i, "shape") == ""
    yield claims, i
    number = value_at(t, i, "of_all")
    if number is not None:
        if number != "0":
            claims += (Claim("total", value=number),)
        yield claims, i + 1 + (value_at(t, i + 1, "shapes") == "")
