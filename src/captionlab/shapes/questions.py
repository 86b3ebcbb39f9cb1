"""Questions about a scene, with the answers that are true of it.

What is asked lets one answer alone be right: a name fits one object, a place is clear, and what is
larger is clearly so, by the measures of `facts`. A question does not give its answer away: "is
there" is asked twice in one wording, once of what is there and once of what is in another scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from captionlab.shapes.facts import JUDGE, RELATIONS, STATE, at
from captionlab.shapes.plan import PLACES, fits
from captionlab.shapes.scene import HELD_OUT, Kind, Scene, SceneObject, sample_scene

KINDS = ("color", "count", "exists", "where", "larger")
Objects = Sequence[SceneObject]
_NAMES = (("shape",), ("color", "shape"), ("size", "shape"), ("size", "color", "shape"))
_COLORLESS = tuple(name for name in _NAMES if "color" not in name)


@dataclass(frozen=True, slots=True)
class Question:
    """One question: which of `KINDS` it is, its text and the answer."""

    kind: str
    text: str
    answer: str


def ask(scene: Scene, rng: Random, *, unseen: bool = False) -> tuple[Question, ...]:
    """Return three to seven different questions about a scene.

    Two ask what is there, up to two for a color, and up to one each for a number, a place, and which
    is larger.

    `unseen`: the scene has a held-out color-shape pair, and each question is about an object of such
    a pair; otherwise none names such a pair, and no answer makes one.
    """
    subjects = [t for t in scene.objects if not unseen or (t.color, t.shape) in HELD_OUT]
    rng.shuffle(subjects)
    asked = [
        *_colors(scene, subjects, rng),
        *_count(scene, subjects, rng, unseen),
        *_exists(scene, subjects, rng, unseen),
        *_where(scene, subjects, rng),
        *_larger(scene, subjects, rng),
    ]
    return tuple({question.text: question for question in asked}.values())


def _colors(scene: Scene, subjects: Objects, rng: Random) -> list[Question]:
    names = ((obj, _name(scene, obj, _COLORLESS)) for obj in subjects)
    named = [(obj, name) for obj, name in names if name][:2]
    wordings = ("What color is the {}?", "What is the color of the {}?")
    return [Question("color", rng.choice(wordings).format(name), obj.color) for obj, name in named]


def _count(scene: Scene, subjects: Objects, rng: Random, unseen: bool) -> list[Question]:
    """Ask for a number; each that a scene offers is as likely, but none at all half as likely."""
    color, shape = _absent(scene, rng, unseen)
    nouns = {(t.color, t.shape) for t in subjects} | {(color, shape)}
    if not unseen:
        nouns |= {("", t.shape) for t in subjects} | {(t.color, "") for t in subjects}
        nouns |= {(color, ""), ("", shape), ("", "")}
    by_number: dict[int, list[Kind]] = {}
    for noun in sorted(nouns):
        by_number.setdefault(sum(_fits(t, noun) for t in scene.objects), []).append(noun)
    numbers = sorted(by_number)
    number = rng.choices(numbers, [1 if number else 0.5 for number in numbers])[0]
    color, shape = rng.choice(by_number[number])
    things = " ".join(filter(None, (color, _plural(shape or "shape"))))
    wordings = ("How many {} are there?", "How many {} do you see?")
    return [Question("count", rng.choice(wordings).format(things), str(number))]


def _exists(scene: Scene, subjects: Objects, rng: Random, unseen: bool) -> list[Question]:
    """Ask in one wording for something that is there and something that is not."""
    there = rng.choice(subjects)
    form = "pair" if unseen else rng.choice(("pair", "pair", "shape", "color"))
    absent = _absent(scene, rng, unseen, form)
    say: Callable[[Kind], str] = {
        "pair": lambda kind: f"Is there {_article(' '.join(kind))}?",
        "shape": lambda kind: f"Is there {_article(kind[1])}?",
        "color": lambda kind: f"Is there {_article(kind[0])} shape?",
    }[form]
    asked = [
        Question("exists", say((there.color, there.shape)), "yes"),
        Question("exists", say(absent), "no"),
    ]
    rng.shuffle(asked)
    return asked


def _absent(scene: Scene, rng: Random, unseen: bool, form: str = "pair") -> Kind:
    """Return a pair of another scene of which this one has not the shape, the color, or both in one.

    Other scenes, because some colors and shapes are drawn less often than others: a question after
    one of them must not be likelier to be answered with no. Half of the pairs are near misses.
    """
    while True:
        others = sample_scene(rng, unseen=unseen).objects
        color, shape = rng.choice([(t.color, t.shape) for t in others])
        if form == "pair" and not unseen and rng.random() < 0.5:
            near = rng.choice(scene.objects)
            color, shape = rng.choice(((near.color, shape), (color, near.shape)))
        if ((color, shape) in HELD_OUT) != unseen:
            continue
        noun = {"pair": (color, shape), "shape": ("", shape), "color": (color, "")}[form]
        if not any(_fits(t, noun) for t in scene.objects):
            return color, shape


def _where(scene: Scene, subjects: Objects, rng: Random) -> list[Question]:
    wordings = ("Where is the {}?", "Where do you see the {}?")
    for obj in subjects:
        place = _place(obj)
        names = _NAMES if (obj.color, obj.shape) not in HELD_OUT else _NAMES[1::2]
        name = _name(scene, obj, names)
        if place and name:
            return [Question("where", rng.choice(wordings).format(name), place)]
    return []


def _place(obj: SceneObject) -> str:
    """Return the place of an object, "" where it is near the line to another place."""
    clear, near = (next((p for p in PLACES if at(obj, p, m)), "") for m in (STATE, JUDGE))
    return clear if clear == near else ""


def _larger(scene: Scene, subjects: Objects, rng: Random) -> list[Question]:
    pair = (("color", "shape"),)
    named = [(obj, name) for obj in scene.objects if (name := _name(scene, obj, pair))]
    rng.shuffle(named)
    which = rng.choice(("larger", "smaller"))
    for obj, name in named:
        for other, other_name in named:
            about = obj in subjects or other in subjects
            if about and RELATIONS[which](obj, other, STATE):
                either = rng.sample((name, other_name), 2)
                text = f"Which is {which}, the {either[0]} or the {either[1]}?"
                return [Question("larger", text, name)]
    return []


def _name(scene: Scene, obj: SceneObject, names: Sequence[tuple[str, ...]]) -> str:
    """Return the shortest of the names that fits this object alone, "" where none does."""
    for attributes in names:
        # nobody calls a thing medium to tell it from others
        if "size" in attributes and obj.size == "medium":
            continue
        chosen = frozenset(attributes)
        if sum(fits(other, obj, chosen) for other in scene.objects) == 1:
            return " ".join(getattr(obj, attribute) for attribute in attributes)
    return ""


def _fits(obj: SceneObject, noun: Kind) -> bool:
    color, shape = noun
    return color in ("", obj.color) and shape in ("", obj.shape)


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"
