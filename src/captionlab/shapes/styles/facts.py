"""Whether captions in the made styles are true, and how many facts a paragraph tells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from captionlab.shapes.facts import INVERSE, JUDGE, RELATIONS, at
from captionlab.shapes.judge import Claim, Description, Mention, claims_hold
from captionlab.shapes.plan import Message, Noun
from captionlab.shapes.scene import Scene, SceneObject
from captionlab.shapes.styles.paragraph import paragraph
from captionlab.shapes.styles.read import readings, sentences

# what, and of which kind of objects or with which value: ("size", "red", "ring", "small")
Fact = tuple[str, ...]

_MOST_PARSES = 500
_ATTRIBUTES = ("color", "shape", "size", "texture")
_TURNED = {"right", "below", "around", "smaller"}  # stated the other way around


def is_true(caption: str, scene: Scene) -> bool:
    """Return whether all that a caption says holds in the scene: of a paragraph, each sentence.

    As ``shapes.truth.is_true``, of English captions in a style or in none.
    """
    return all(_holds(sentence, scene) for sentence in sentences(caption))


def _holds(sentence: str, scene: Scene) -> bool:
    return any(claims_hold(c, scene) for c in islice(readings(sentence), _MOST_PARSES))


def fact_scores(caption: str, scene: Scene) -> tuple[float, float]:
    """Return precision and recall of a caption's facts (in the manner of SPICE, Anderson et al. 2016).

    A fact is atomic: that there is an object of a color and shape; one of its size, its texture, a
    word of its place ("top left" has two); a number of objects; a word of the background; a relation
    between a kind of objects and another. A kind is a color and a shape: that one of two red rings
    is small is the fact that a red ring is small. Equal facts count once, "b is right of a" is "a is
    left of b", and comparisons that are none of these ("both are red") are one fact each.

    Precision: the share of the stated facts that hold in the scene as ``shapes.judge`` sees it; a
    sentence that cannot be read is one that does not; 0 where nothing is stated. Recall: the share
    of ``scene_facts`` that are stated.
    """
    stated: dict[Fact, bool] = {}
    unread = 0
    for sentence in sentences(caption):
        parses = list(islice(readings(sentence), _MOST_PARSES))
        unread += not parses
        if parses:
            claims = next((c for c in parses if claims_hold(c, scene)), parses[0])
            stated |= _stated(claims, scene)
    told = scene_facts(scene)
    precision = sum(stated.values()) / max(1, len(stated) + unread)
    return precision, len(told & stated.keys()) / len(told)


def scene_facts(scene: Scene) -> frozenset[Fact]:
    """Return the facts that a whole paragraph tells (``paragraph.paragraph``)."""
    return frozenset(fact for message in paragraph(scene) for fact in _told(message))


def _told(message: Message) -> list[Fact]:
    """Return the facts of one message of a paragraph."""
    if message.kind == "opening":
        ground = message.ground
        assert ground is not None
        words = filter(None, (ground.pattern, ground.tone, ground.color))
        count = _count(Description(), len(message.nouns[0].objects))
        return [count, *(("ground", word) for word in words)]
    if message.kind == "object":
        return _described(_description(message.nouns[0]))
    first, second = (_kind(_description(noun)) for noun in message.nouns)
    return [_relation(message.value, first, second)]


def _description(noun: Noun) -> Description:
    first = noun.first
    return Description(first.shape, first.color, first.size, first.texture, noun.place)


def _kind(what: Description) -> Fact:
    return (what.color, what.shape)


def _described(what: Description, kind: Fact | None = None) -> list[Fact]:
    """Return the facts of a noun phrase; with a kind, those that "is" adds to a subject of it."""
    of = _kind(what) if kind is None else kind
    facts = [("object", *of)]
    names = ("size", "texture") if kind is None else _ATTRIBUTES
    facts += [(name, *of, value) for name in names if (value := getattr(what, name))]
    return facts + [("at", *of, word) for word in what.place.split()]


def _count(what: Description, number: int) -> Fact:
    return ("count", what.color, what.shape, what.size, what.texture, what.place, str(number))


def _relation(name: str, first: Fact, second: Fact) -> Fact:
    if name in _TURNED or (name == "beside" and second < first):
        name, first, second = INVERSE[name], second, first
    return (name, *first, *second)


def _stated(claims: Sequence[Claim], scene: Scene) -> dict[Fact, bool]:
    """Return the facts that claims state, and whether each holds."""
    facts: dict[Fact, bool] = {}
    for claim in claims:
        for mention in claim.mentions:
            facts |= _mentioned(mention, scene)
        kinds = [_kind(mention.description) for mention in claim.mentions]
        if claim.name == "is":
            facts |= {
                fact: _fact_holds(fact, scene)
                for kind in kinds
                for fact in _described(claim.description, kind)
            }
        elif claim.name in RELATIONS:
            fact = _relation(claim.name, *kinds)
            facts[fact] = _fact_holds(fact, scene)
        elif claim.name != "exists":
            name = claim.name if claim.name == "ground" else f"claim {claim.name}"
            facts[(name, *(word for kind in kinds for word in kind), claim.value)] = claims_hold(
                [claim], scene
            )
    return facts


def _mentioned(mention: Mention, scene: Scene) -> dict[Fact, bool]:
    what = mention.description
    if mention.count or what.extreme:
        holds = bool(mention.candidates(scene))
        best = ("extreme", *_kind(what), what.extreme)
        fact = best if what.extreme else _count(what, mention.count)
        # "three shapes" names no object
        return {fact: holds} | ({} if _kind(what) == ("", "") else _all(what, scene))
    return _all(what, scene)


def _all(what: Description, scene: Scene) -> dict[Fact, bool]:
    return {fact: _fact_holds(fact, scene) for fact in _described(what)}


def _fact_holds(fact: Fact, scene: Scene) -> bool:
    """Return whether an object, or a pair of objects, of the fact's kinds is as it says."""
    name, color, shape, *value = fact
    subjects = _of_kind(scene, color, shape)
    if name == "object":
        return bool(subjects)
    if name == "at":
        return any(at(obj, value[0], JUDGE) for obj in subjects)
    if name in RELATIONS:
        others = _of_kind(scene, *value)
        return any(RELATIONS[name](a, b, JUDGE) for a in subjects for b in others if a is not b)
    return any(getattr(obj, name) == value[0] for obj in subjects)


def _of_kind(scene: Scene, color: str, shape: str) -> list[SceneObject]:
    what = Description(shape, color)
    return [obj for obj in scene.objects if what.fits(obj)]
