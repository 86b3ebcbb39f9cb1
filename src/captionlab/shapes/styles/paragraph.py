"""What a paragraph says of a scene: all of it, in a fixed order and in no words yet."""

from __future__ import annotations

from captionlab.shapes.facts import ATTRIBUTES, RELATIONS, at
from captionlab.shapes.plan import PLACES, Ground, Message, Noun, fits
from captionlab.shapes.scene import SIZES, Scene, SceneObject

_RELATED = ("inside", "around", "left", "right", "above", "below")


def paragraph(scene: Scene) -> tuple[Message, ...]:
    """Return the messages of a paragraph, the same for the same scene.

    First how many objects there are and what is behind them ("opening"); then each object with all
    its attributes and, where it is clear, its place ("object"), the large ones first; then for each
    object but the first its relation to the last one before it that it has a clear one to
    ("relation"): being inside, else a direction.
    """
    objects = sorted(scene.objects, key=lambda t: (-SIZES[t.size][0], t.x + 0.5 * t.y))
    opening = Message("opening", (Noun(tuple(objects), frozenset()),), ground=_ground(scene))
    named = (
        Message("object", (Noun((obj,), frozenset(ATTRIBUTES), place=_place(obj)),))
        for obj in objects
    )
    pairs = (_related(scene, objects, index) for index in range(1, len(objects)))
    return (opening, *named, *filter(None, pairs))


def _ground(scene: Scene) -> Ground:
    behind = scene.background
    stated = behind.pattern if behind.pattern in ("meadow", "grainy") else ""
    return Ground(behind.tone, behind.color, stated)


def _place(obj: SceneObject) -> str:
    return next((place for place in PLACES if at(obj, place)), "")


def _related(scene: Scene, objects: list[SceneObject], index: int) -> Message | None:
    """Return the relation of an object to one before it, None where no relation is clear."""
    obj = objects[index]
    for other in reversed(objects[:index]):
        for relation in _RELATED:
            if not RELATIONS[relation](obj, other, 1.0):
                continue
            pair = (other, obj) if relation == "around" else (obj, other)
            name = "inside" if relation == "around" else relation
            return Message("relation", tuple(_name(scene, one) for one in pair), name)
    return None


def _name(scene: Scene, obj: SceneObject) -> Noun:
    """Return the shortest name with "the" that fits no other object, else the longest with "a"."""
    for attributes in (
        ("color", "shape"),
        ("color", "shape", "size"),
        ("color", "shape", "texture"),
        ATTRIBUTES,
    ):
        name = frozenset(attributes)
        if sum(fits(other, obj, name) for other in scene.objects) == 1:
            return Noun((obj,), name, definite=True)
    return Noun((obj,), frozenset(ATTRIBUTES))
