"""What constituents mean: the values that the tables' rules build, in no language.

A predicate (a place, a relation, a background) does not know its subject when it is read, as in
"to the left of a star there is a ring": it is a function from the subject's mentions to claims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from captionlab.shapes.judge import Claim, Description, Mention

Claims = tuple[Claim, ...]
Mentions = tuple[Mention, ...]
Predicate = Callable[[Mentions], Claims]


class Phrase(NamedTuple):
    """One noun phrase or several in a row: whom they mention, and what they claim by themselves."""

    mentions: Mentions
    claims: Claims


NOTHING = Phrase((), ())


def introduce(mention: Mention, claims: Claims = ()) -> Phrase:
    """Return one noun phrase, whose first claim is that such an object exists."""
    return Phrase((mention,), (Claim("exists", (mention,)), *claims))


def join(first: Phrase, second: Phrase) -> Phrase:
    """Return two noun phrases as one constituent."""
    if second is NOTHING:
        return first
    return Phrase(first.mentions + second.mentions, first.claims + second.claims)


def mention(quantity: str, description: Description) -> Mention:
    """Return a new mention; the quantity is a word of `Mention`, perhaps with a count."""
    word, _, count = quantity.partition(" ")
    return Mention(description, word, int(count or 0))


def describe(
    attributes: Mapping[str, str], shape: str = "", *, texture: str = "", place: str = ""
) -> Description:
    """Return the description that adjectives and a noun make together."""
    get = attributes.get
    return Description(
        shape, get("color", ""), get("size", ""), get("texture", texture), place, get("extreme", "")
    )


def background(*words: str) -> Claims:
    """Return claims about the background, which has no mention."""
    return tuple(Claim("ground", value=word) for word in words)


def behind(*words: str) -> Predicate:
    """Return a predicate that speaks of the background and not of its subject."""
    claims = background(*words)
    return lambda subject: claims


def be(subject: Mentions, description: Description) -> Claims:
    """Return the claim that a description fits all of the subject."""
    return (Claim("is", subject, description=description),)


def extreme(subject: Mentions, which: str) -> Claims:
    """Return the claim that the subject is the largest or the smallest of all."""
    return (Claim("extreme", subject, which),)


def same(subject: Mentions, attribute: str) -> Claims:
    """Return the claim that the subject shares an attribute."""
    return (Claim("same", subject, attribute),)


def different(subject: Mentions, attribute: str) -> Claims:
    """Return the claim that no two of the subject share an attribute."""
    return (Claim("different", subject, attribute),)


def at(place: str) -> Predicate:
    """Return the predicate of being at a place of the picture."""
    description = Description(place=place)
    return lambda subject: be(subject, description)


def related(relation: str, others: Phrase) -> Predicate:
    """Return the predicate of a relation that each of the subject has to each of the others."""
    return lambda subject: (
        *others.claims,
        *(Claim(relation, (one, other)) for one in subject for other in others.mentions),
    )


def between(ends: Phrase) -> Predicate:
    """Return the predicate of being between two ends, which one mention or two may stand for."""
    return lambda subject: (
        *ends.claims,
        *(Claim("between", (one, *ends.mentions)) for one in subject),
    )


def only_exist(claims: Claims) -> bool:
    """Return whether nothing but the existence of objects is claimed."""
    return all(claim.name == "exists" for claim in claims)
