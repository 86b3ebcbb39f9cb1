"""What to say about a scene, in no language yet: messages made of nouns, each of them true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from captionlab.shapes.facts import ATTRIBUTES, INVERSE, RELATIONS, STATE, at, between, extreme
from captionlab.shapes.scene import SIZES, Scene, SceneObject

DIRECTIONS = ("left", "right", "above", "below")
SIDES = ("left", "right", "top", "bottom")
PLACES = ("top left", "top right", "bottom left", "bottom right", "center", *SIDES)


@dataclass(frozen=True, slots=True)
class Noun:
    """Objects under one name: `attributes` are those named, `place` where they are.

    More than one object means exactly those: no other object of the scene fits the name.
    """

    objects: tuple[SceneObject, ...]
    attributes: frozenset[str]
    definite: bool = False
    place: str = ""

    @property
    def first(self) -> SceneObject:
        """Return the object whose attributes the name takes."""
        return self.objects[0]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a message states about the background; an empty word states nothing."""

    tone: str = ""
    color: str = ""
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One statement: its kind, its nouns, the relation or attribute, and perhaps the background."""

    kind: str
    nouns: tuple[Noun, ...] = ()
    value: str = ""
    ground: Ground | None = None


def plan(scene: Scene, rng: Random) -> Message:
    """Return one message about the scene; modest ones (colors, shapes, relations) most often."""
    weights = _WEIGHTS[len(scene.objects)]
    while True:
        kind = rng.choices(_KINDS, weights)[0]
        message = _PLANNERS[kind](scene, rng)
        if message is not None:
            return message


def fits(obj: SceneObject, other: SceneObject, attributes: frozenset[str]) -> bool:
    """Return whether a name made of these attributes of `other` also fits `obj`."""
    return all(getattr(obj, attribute) == getattr(other, attribute) for attribute in attributes)


def _name(scene: Scene, rng: Random, obj: SceneObject, *, definite: bool = False) -> Noun:
    """Return a name for one object, made longer until it fits no other where it is definite."""
    attributes = {"color", "shape"}
    choice = rng.random()
    if choice < 0.07:
        attributes = {"shape"}
    elif choice < 0.12:
        attributes = {"color"}
    if rng.random() < (0.24 if obj.size != "medium" else 0.05):
        attributes.add("size")
    if rng.random() < (0.4 if obj.texture != "solid" else 0.02):
        attributes.add("texture")
    if definite:
        for attribute in (None, *ATTRIBUTES):
            attributes |= {attribute} if attribute else set()
            if _count(scene, obj, frozenset(attributes)) == 1:
                break
        else:
            definite = False
    return Noun((obj,), frozenset(attributes), definite)


def _count(scene: Scene, obj: SceneObject, attributes: frozenset[str]) -> int:
    return sum(fits(other, obj, attributes) for other in scene.objects)


def _ground(scene: Scene, rng: Random, chance: float) -> Ground | None:
    """Return something true about the background, with this probability."""
    if rng.random() >= chance:
        return None
    behind = scene.background
    if behind.pattern == "meadow":
        return Ground(pattern="meadow")
    choice = rng.random()
    return Ground(
        tone=behind.tone if choice < 0.8 else "",
        color=behind.color if choice > 0.5 else "",
        pattern="grainy" if behind.pattern == "grainy" and rng.random() < 0.2 else "",
    )


def _groups(scene: Scene, rng: Random) -> list[Noun]:
    """Return all objects under names that share nothing: alike ones counted together."""
    attributes = frozenset({"color", "shape"})
    if len(scene.objects) > 1 and rng.random() < 0.2:
        attributes = frozenset({"shape"})
    # most often what is largest first, then as one reads
    left = sorted(scene.objects, key=lambda t: (-SIZES[t.size][0], t.x + 0.5 * t.y))
    if rng.random() < 0.2:
        rng.shuffle(left)
    nouns = []
    while left:
        alike = tuple(obj for obj in left if fits(obj, left[0], attributes))
        left = [obj for obj in left if obj not in alike]
        if len(alike) > 1:
            kinds = ("size",) if alike[0].texture == "solid" else ("size", "texture")
            # a tuple: the order of a set, and with it the draws, differs from process to process
            extra = tuple(a for a in kinds if len({getattr(t, a) for t in alike}) == 1)
            more = frozenset(a for a in extra if rng.random() < 0.25)
            nouns.append(Noun(alike, attributes | more))
        else:
            noun = _name(scene, rng, alike[0])
            nouns.append(noun if attributes > {"shape"} else replace(noun, attributes=attributes))
    return nouns


def _listing(scene: Scene, rng: Random) -> Message:
    nouns = _groups(scene, rng)
    if len(nouns) > 2 and rng.random() < 0.6:
        nouns = [nouns[i] for i in sorted(rng.sample(range(len(nouns)), 2))]
    chance = 0.75 if len(scene.objects) == 1 else 0.15
    return Message("listing", tuple(nouns), ground=_ground(scene, rng, chance))


def _placed(scene: Scene, rng: Random) -> Message | None:
    obj = rng.choice(scene.objects)
    places = [place for place in PLACES if at(obj, place)]
    if not places:
        return None
    # the corner, where there is one, is the better answer to "where?"
    place = places[0] if rng.random() < 0.6 else rng.choice(places)
    noun = _name(scene, rng, obj, definite=rng.random() < 0.3)
    return Message("placed", (replace(noun, place=place),))


def _placed_pair(scene: Scene, rng: Random) -> Message | None:
    pair = rng.sample(scene.objects, 2)
    for one, two in (("left", "right"), ("top", "bottom")):
        first = next((t for t in pair if at(t, one)), None)
        second = next((t for t in pair if at(t, two)), None)
        if first and second:
            nouns = [replace(_name(scene, rng, first), place=one)]
            nouns.append(replace(_name(scene, rng, second), place=two))
            if rng.random() < 0.25:
                nouns.reverse()
            return Message("placed pair", tuple(nouns))
    return None


def _relation(scene: Scene, rng: Random) -> Message | None:
    a, b = rng.sample(scene.objects, 2)
    names = [name for name in DIRECTIONS if RELATIONS[name](a, b, STATE)]
    if not names:
        return None
    name = rng.choice(names)
    if name in ("right", "below") and rng.random() < 0.3:
        a, b, name = b, a, INVERSE[name]
    if RELATIONS["beside"](a, b, STATE) and rng.random() < 0.2:
        name = "beside"
    definite = rng.random() < 0.3
    nouns = tuple(_name(scene, rng, obj, definite=definite) for obj in (a, b))
    return Message("relation", nouns, name, _ground(scene, rng, 0.03))


def _inside(scene: Scene, rng: Random) -> Message | None:
    pairs = [
        (a, b) for a in scene.objects for b in scene.objects if RELATIONS["inside"](a, b, STATE)
    ]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    definite = rng.random() < 0.2
    nouns = tuple(_name(scene, rng, obj, definite=definite) for obj in (a, b))
    return Message("relation", nouns, "inside", _ground(scene, rng, 0.1))


def _between(scene: Scene, rng: Random) -> Message | None:
    objects = scene.objects
    triples = [
        (objects[i], objects[j], objects[k])
        for i in range(len(objects))
        for j in range(len(objects))
        for k in range(j + 1, len(objects))
        if i not in (j, k) and between(objects[i], objects[j], objects[k])
    ]
    if not triples:
        return None
    middle, *ends = rng.choice(triples)
    rng.shuffle(ends)
    definite = rng.random() < 0.2
    nouns = [_name(scene, rng, middle, definite=definite)]
    attributes = frozenset({"color", "shape"})
    if fits(ends[0], ends[1], attributes) and _count(scene, ends[0], attributes) == 2:
        nouns.append(Noun(tuple(ends), attributes))
    else:
        nouns += [_name(scene, rng, obj, definite=definite) for obj in ends]
    return Message("between", tuple(nouns), ground=_ground(scene, rng, 0.03))


def _total(scene: Scene, rng: Random) -> Message:
    return Message("total", (Noun(scene.objects, frozenset()),), ground=_ground(scene, rng, 0.4))


def _counted(scene: Scene, rng: Random) -> Message | None:
    """Return a count of objects that share a color, a shape or both, others being there or not."""
    obj = rng.choice(scene.objects)
    attributes = frozenset(rng.choice((("shape",), ("color",), ("color", "shape"))))
    alike = tuple(other for other in scene.objects if fits(other, obj, attributes))
    if len(alike) < 2:
        return None
    return Message("counted", (Noun(alike, attributes),), ground=_ground(scene, rng, 0.3))


def _extreme(scene: Scene, rng: Random) -> Message | None:
    which = rng.choice(("largest", "largest", "smallest"))
    obj = extreme(which, scene.objects)
    if obj is None:
        return None
    attributes = rng.choice((("color", "shape"), ("color", "shape"), ("color",), ("shape",)))
    noun = Noun((obj,), frozenset(attributes), _count(scene, obj, frozenset(attributes)) == 1)
    return Message("extreme", (noun,), which)


def _compare(scene: Scene, rng: Random) -> Message | None:
    a, b = rng.sample(scene.objects, 2)
    names = [name for name in ("larger", "smaller") if RELATIONS[name](a, b, STATE)]
    if not names:
        return None
    attributes = frozenset({"color", "shape"})
    if any(_count(scene, obj, attributes) > 1 for obj in (a, b)):
        return None
    return Message(
        "compare", (Noun((a,), attributes, True), Noun((b,), attributes, True)), names[0]
    )


def _alike(scene: Scene, rng: Random) -> Message | None:
    shared = [
        attribute
        for attribute in ATTRIBUTES
        if len({getattr(obj, attribute) for obj in scene.objects}) == 1
        and (attribute in ("color", "shape") or scene.objects[0].texture in ("striped", "dotted"))
        and attribute != "size"
    ]
    if not shared:
        return None
    attribute = rng.choice(shared)
    noun = Noun(scene.objects, frozenset({attribute}))
    return Message("same" if rng.random() < 0.3 else "alike", (noun,), attribute)


def _different(scene: Scene, rng: Random) -> Message | None:
    attribute = rng.choice(("color", "shape"))
    if len({getattr(obj, attribute) for obj in scene.objects}) < len(scene.objects):
        return None
    return Message("different", (Noun(scene.objects, frozenset()),), attribute)


def _property(scene: Scene, rng: Random) -> Message | None:
    """Return "the circle is red": one object by some attributes, another attribute stated of it."""
    obj = rng.choice(scene.objects)
    values = ["color"] * 3 + ["size"] * (obj.size != "medium")
    values += ["texture"] * (3 * (obj.texture != "solid"))
    value = rng.choice(values)
    for attributes in ({"shape"}, {"color", "shape"}):
        name = frozenset(attributes - {value})
        if name != {"color"} and _count(scene, obj, name) == 1:
            return Message("property", (Noun((obj,), name, True),), value)
    return None


def _background(scene: Scene, rng: Random) -> Message:
    return Message("background", ground=_ground(scene, rng, 1))


_PLANNERS: dict[str, Callable[[Scene, Random], Any]] = {
    "listing": _listing,
    "relation": _relation,
    "inside": _inside,
    "between": _between,
    "placed": _placed,
    "placed pair": _placed_pair,
    "counted": _counted,
    "total": _total,
    "extreme": _extreme,
    "compare": _compare,
    "alike": _alike,
    "different": _different,
    "property": _property,
    "background": _background,
}
_KINDS = tuple(_PLANNERS)
# one row for each number of objects; zeros where a message needs more of them
_WEIGHTS = {
    1: (60, 0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 0, 8, 2),
    2: (52, 26, 24, 0, 4, 8, 6, 5, 3, 3, 10, 1, 2, 1),
    3: (36, 26, 20, 9, 4, 6, 8, 7, 4, 2, 10, 1, 1, 1),
    4: (26, 24, 16, 5, 4, 5, 12, 14, 4, 1, 10, 0, 1, 1),
}
