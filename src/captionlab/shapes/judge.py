"""Whether claims hold: mentions are matched with drawn objects, then each claim is checked.

Knows no language: the readers turn sentences into claims, this file compares claims and scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from captionlab.shapes.facts import JUDGE, RELATIONS, at, between, extreme
from captionlab.shapes.scene import Background, Scene, SceneObject

Objects = tuple[SceneObject, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a noun phrase says of an object; an empty word says nothing."""

    shape: str = ""
    color: str = ""
    size: str = ""
    texture: str = ""
    place: str = ""
    extreme: str = ""

    def fits(self, obj: SceneObject) -> bool:
        """Return whether all but the superlative fits an object."""
        return (
            self.shape in ("", obj.shape)
            and self.color in ("", obj.color)
            and self.size in ("", obj.size)
            and self.texture in ("", obj.texture)
            and (not self.place or at(obj, self.place, JUDGE))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Mention:
    """One noun phrase; two equal phrases are two mentions.

    quantity: "some" one object; "the" exactly one fits; "exactly" as many as `count` fit;
    "all" every object that fits, at least two of them, and `count` of them where it is not 0.
    """

    description: Description
    quantity: str = "some"
    count: int = 0

    def candidates(self, scene: Scene) -> list[Objects]:
        """Return the sets of objects that the phrase may stand for, none where it fits nothing."""
        fitting = tuple(obj for obj in scene.objects if self.description.fits(obj))
        if self.description.extreme:
            one = extreme(self.description.extreme, fitting, JUDGE)
            fitting = (one,) if one else ()
        if self.quantity == "some":
            return [(obj,) for obj in fitting]
        if self.quantity == "the":
            return [fitting] if len(fitting) == 1 else []
        if self.quantity == "exactly":
            return [fitting] if len(fitting) == self.count else []
        return [fitting] if len(fitting) > 1 and self.count in (0, len(fitting)) else []

    @property
    def disjoint(self) -> bool:
        """Return whether the phrase introduces objects that no other such phrase stands for."""
        return self.quantity in ("some", "exactly")


@dataclass(frozen=True, slots=True)
class Claim:
    """Something said of mentions: a relation's name, or one of the names in `_holds`."""

    name: str
    mentions: tuple[Mention, ...] = ()
    value: str = ""
    description: Description = Description()


def claims_hold(claims: Sequence[Claim], scene: Scene) -> bool:
    """Return whether the mentions can be matched with objects so that every claim holds."""
    mentions = tuple(dict.fromkeys(mention for claim in claims for mention in claim.mentions))
    return bool(claims) and any(
        all(_holds(claim, chosen, scene) for claim in claims)
        for chosen in _matches(mentions, scene, {}, frozenset())
    )


def _matches(
    mentions: tuple[Mention, ...],
    scene: Scene,
    chosen: dict[Mention, Objects],
    taken: frozenset[SceneObject],
) -> Iterator[dict[Mention, Objects]]:
    if not mentions:
        yield chosen
        return
    first, *rest = mentions
    for objects in first.candidates(scene):
        if first.disjoint and not taken.isdisjoint(objects):
            continue
        now = taken.union(objects) if first.disjoint else taken
        yield from _matches(tuple(rest), scene, {**chosen, first: objects}, now)


def _holds(claim: Claim, chosen: dict[Mention, Objects], scene: Scene) -> bool:
    groups = [chosen[mention] for mention in claim.mentions]
    name, value = claim.name, claim.value
    if name in RELATIONS:
        return all(RELATIONS[name](a, b, JUDGE) for a in groups[0] for b in groups[1])
    if name == "exists":
        return True
    if name == "ground":
        return _ground_holds(value, scene.background)
    if name == "between":
        ends = [obj for group in groups[1:] for obj in group]
        return len(ends) == 2 and all(between(a, ends[0], ends[1], JUDGE) for a in groups[0])
    everything = [obj for group in groups for obj in group]
    if name == "is":
        return all(claim.description.fits(obj) for obj in everything)
    if name == "extreme":
        return everything == [extreme(value, scene.objects, JUDGE)]
    if name == "total":
        return len(scene.objects) == int(value)
    values = {getattr(obj, value) for obj in everything}
    if name == "same":
        return len(everything) > 1 and len(values) == 1
    if name == "different":
        return len(everything) > 1 and len(values) == len(everything)
    raise AssertionError(f"no rule for the claim {name!r}")


def _ground_holds(word: str, ground: Background) -> bool:
    """Return whether a word, such as "dark", "green" or "meadow", fits the background."""
    return word in (ground.pattern, ground.tone, ground.color) and word != ""
