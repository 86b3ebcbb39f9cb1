"""Whether claims hold: mentions are matched with drawn objects, then each claim is checked.

Knows no language: the readers turn sentences into claims, this file compares claims and scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from captionlab.shapes.facts import JUDGE, RELATIONS, at, between, extreme
from captionlab.shapes.scene import Background, Scene, Thing

Things = tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a noun phrase says of an object; an empty word says nothing."""

    shape: str = ""
    color: str = ""
    size: str = ""
    texture: str = ""
    place: str = ""
    extreme: str = ""

    def fits(self, thing: Thing) -> bool:
        """Return whether all but the superlative fits an object."""
        return (
            self.shape in ("", thing.shape)
            and self.color in ("", thing.color)
            and self.size in ("", thing.size)
            and self.texture in ("", thing.texture)
            and (not self.place or at(thing, self.place, JUDGE))
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

    def candidates(self, scene: Scene) -> list[Things]:
        """Return the sets of objects that the phrase may stand for, none where it fits nothing."""
        found = tuple(thing for thing in scene.things if self.description.fits(thing))
        if self.description.extreme:
            one = extreme(self.description.extreme, found, JUDGE)
            found = (one,) if one else ()
        if self.quantity == "some":
            return [(thing,) for thing in found]
        if self.quantity == "the":
            return [found] if len(found) == 1 else []
        if self.quantity == "exactly":
            return [found] if len(found) == self.count else []
        return [found] if len(found) > 1 and self.count in (0, len(found)) else []

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
    chosen: dict[Mention, Things],
    taken: frozenset[Thing],
) -> Iterator[dict[Mention, Things]]:
    if not mentions:
        yield chosen
        return
    first, *rest = mentions
    for things in first.candidates(scene):
        if first.disjoint and not taken.isdisjoint(things):
            continue
        now = taken.union(things) if first.disjoint else taken
        yield from _matches(tuple(rest), scene, {**chosen, first: things}, now)


def _holds(claim: Claim, chosen: dict[Mention, Things], scene: Scene) -> bool:
    groups = [chosen[mention] for mention in claim.mentions]
    name, value = claim.name, claim.value
    if name in RELATIONS:
        return all(RELATIONS[name](a, b, JUDGE) for a in groups[0] for b in groups[1])
    if name == "exists":
        return True
    if name == "ground":
        return _ground_holds(value, scene.background)
    if name == "between":
        ends = [thing for group in groups[1:] for thing in group]
        return len(ends) == 2 and all(between(a, ends[0], ends[1], JUDGE) for a in groups[0])
    everything = [thing for group in groups for thing in group]
    if name == "is":
        return all(claim.description.fits(thing) for thing in everything)
    if name == "extreme":
        return everything == [extreme(value, scene.things, JUDGE)]
    if name == "total":
        return len(scene.things) == int(value)
    values = {getattr(thing, value) for thing in everything}
    if name == "same":
        return len(everything) > 1 and len(values) == 1
    if name == "different":
        return len(everything) > 1 and len(values) == len(everything)
    raise AssertionError(f"no rule for the claim {name!r}")


def _ground_holds(word: str, ground: Background) -> bool:
    """Return whether a word, such as "dark", "green" or "meadow", fits the background."""
    return word in (ground.pattern, ground.tone, ground.color) and word != ""
