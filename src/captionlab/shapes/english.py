"""English sentences for messages about a scene: word choice, word order, sentence patterns."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from captionlab.shapes.plan import Ground, Message, Noun
from captionlab.shapes.words import ENGLISH as WORDS

_PLURALS = {"box": "boxes", "cross": "crosses", "rhombus": "rhombuses"}
_NUMBERS = ("zero", "one", "two", "three", "four")


def english(message: Message, rng: Random) -> str:
    """Return one sentence that says what the message says."""
    text = _SENTENCES[message.kind](message, rng)
    if message.ground is not None and message.kind != "background":
        text = f"{text} {_behind(message.ground, rng)}"
    return f"{text[0].upper()}{text[1:]}."


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _plural(noun: str) -> str:
    *before, last = noun.split(" ")
    return " ".join([*before, _PLURALS.get(last, f"{last}s")])


def _bare(noun: Noun, rng: Random) -> str:
    """Return adjectives and noun without an article, in the noun's number."""
    thing, said = noun.first, noun.attributes
    head = WORDS.pick(rng, thing.shape if "shape" in said else "generic")
    words = [_plural(head) if len(noun.objects) > 1 else head]
    after = ""
    if "color" in said:
        words.insert(0, WORDS.pick(rng, thing.color))
    if "texture" in said:
        if thing.texture != "solid" and rng.random() < 0.25:
            after = " with " + WORDS.pick(rng, f"with {thing.texture}")
        else:
            place = 0 if rng.random() < 0.6 else len(words) - 1
            words.insert(place, WORDS.pick(rng, thing.texture))
    if "size" in said:
        words.insert(0, WORDS.pick(rng, thing.size))
    return " ".join(words) + after


def _np(noun: Noun, rng: Random) -> str:
    """Return a whole noun phrase: article or number, adjectives, noun."""
    words, count = _bare(noun, rng), len(noun.objects)
    if count == 1:
        return f"the {words}" if noun.definite else _article(words)
    if count == 2 and rng.random() < 0.08:
        return f"a pair of {words}"
    return f"{_NUMBERS[count]} {words}"


def _series(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _exist(rng: Random, plural: bool) -> str:
    words = WORDS.pick(rng, "exist")
    return words.replace("there is", "there are") if plural else words


def _framed(text: str, rng: Random, plural: bool) -> str:
    """Return a noun phrase as it is, or as what is there or what the picture shows."""
    choice = rng.random()
    plural = plural and not text.startswith("a pair")
    # a picture is seldom described in three words
    if choice < (0.6 if text.count(" ") > 3 else 0.35):
        return text
    if choice < 0.8:
        return f"{_exist(rng, plural)} {text}"
    return f"{WORDS.pick(rng, 'show')} {text}"


def _behind(ground: Ground, rng: Random) -> str:
    if ground.pattern == "meadow":
        return WORDS.pick(rng, "meadow")
    return WORDS.pick(rng, "behind").format(_ground_words(ground, rng))


def _ground_words(ground: Ground, rng: Random) -> str:
    tone = WORDS.pick(rng, ground.tone) if ground.tone else ""
    return " ".join(word for word in (ground.pattern, tone, ground.color) if word)


def _listing(message: Message, rng: Random) -> str:
    parts = [_np(noun, rng) for noun in message.nouns]
    plural = len(message.nouns[0].objects) > 1
    return _framed(_series(parts), rng, plural)


def _placed(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    name, place = _np(noun, rng), WORDS.pick(rng, f"at {noun.place}")
    choice = rng.random()
    if noun.definite or choice < 0.3:
        verb = "is" if rng.random() < 0.8 else WORDS.pick(rng, "stands")
        return f"{name} {verb} {place}"
    if choice < 0.65:
        return f"{name} {place}"
    if choice < 0.85:
        return f"{_exist(rng, False)} {name} {place}"
    return f"{place} {_exist(rng, False)} {name}"


def _placed_pair(message: Message, rng: Random) -> str:
    first, second = (
        f"{_np(noun, rng)}|{WORDS.pick(rng, f'at {noun.place}')}" for noun in message.nouns
    )
    choice = rng.random()
    if choice < 0.4:
        return f"{first} and {second}".replace("|", " ")
    if choice < 0.7:
        joint = "and" if rng.random() < 0.7 else "while"
        other = " is " if joint == "while" or rng.random() < 0.3 else " "
        return f"{first.replace('|', ' is ')} {joint} {second.replace('|', other)}"
    if choice < 0.85:
        return f"{_exist(rng, False)} {first} and {second}".replace("|", " ")
    name, place = first.split("|")
    other_name, other_place = second.split("|")
    return f"{place} {_exist(rng, False)} {name} and {other_place} {other_name}"


def _relation(message: Message, rng: Random) -> str:
    first, second = (_np(noun, rng) for noun in message.nouns)
    if message.value == "inside" and rng.random() < 0.35:
        return _around(first, second, rng)
    relation, choice = WORDS.pick(rng, f"rel {message.value}"), rng.random()
    definite = message.nouns[0].definite
    if definite or choice < 0.34:
        stands = f"stands {message.value}"
        stands = stands if stands in WORDS else "stands"
        verb = "is" if rng.random() < 0.8 or " than" in relation else WORDS.pick(rng, stands)
        return f"{first} {verb} {relation} {second}"
    if choice < 0.68 or " than" in relation:
        return f"{first} {relation} {second}"
    if choice < 0.84:
        return f"{_exist(rng, False)} {first} {relation} {second}"
    if choice < 0.92 or message.value == "inside":
        return f"{relation} {second} {WORDS.pick(rng, 'fronted')} {first}"
    return f"{first} with {second} {WORDS.pick(rng, f'inverse {message.value}')}"


def _around(content: str, container: str, rng: Random) -> str:
    choice = rng.random()
    if choice < 0.3:
        return f"{content} is surrounded by {container}"
    if choice < 0.5:
        return f"{container} surrounds {content}"
    if choice < 0.65:
        return f"{container} contains {content}"
    if choice < 0.8:
        return f"{container} around {content}"
    return f"{container} with {content} {WORDS.pick(rng, 'around')}"


def _between(message: Message, rng: Random) -> str:
    middle, *ends = (_np(noun, rng) for noun in message.nouns)
    where = f"between {' and '.join(ends)}"
    if rng.random() < 0.1:
        where = where.replace("between", "in between", 1)
    choice = rng.random()
    if message.nouns[0].definite or choice < 0.4:
        return f"{middle} is {where}"
    if choice < 0.75:
        return f"{middle} {where}"
    if choice < 0.9:
        return f"{_exist(rng, False)} {middle} {where}"
    return f"{where} {'there is' if rng.random() < 0.5 else 'is'} {middle}"


def _total(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    count = len(noun.objects)
    name = f"{_NUMBERS[count]} {_bare(noun, rng)}"
    if count > 1 and rng.random() < 0.15:
        name = f"exactly {name}"
    choice = rng.random()
    if choice < 0.25:
        return f"there {'are' if count > 1 else 'is'} {name}"
    if choice < 0.4 and message.ground is None:
        return f"{name} can be seen in the picture"
    return _framed(name, rng, count > 1)


def _counted(message: Message, rng: Random) -> str:
    return _framed(_np(message.nouns[0], rng), rng, True)


def _extreme(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    word = WORDS.pick(rng, message.value)
    thing = WORDS.pick(rng, "generic")
    if "shape" not in noun.attributes:
        return f"the {word} {thing} is {WORDS.pick(rng, noun.first.color)}"
    if noun.definite and rng.random() < 0.5:
        tail = ("", f" {thing}", " of all")[rng.choices(range(3), (1, 3, 1))[0]]
        return f"{_np(noun, rng)} is the {word}{tail}"
    return f"the {word} {thing} is {_article(_bare(noun, rng))}"


def _compare(message: Message, rng: Random) -> str:
    first, second = (_np(noun, rng) for noun in message.nouns)
    return f"{first} is {WORDS.pick(rng, message.value)} than {second}"


def _all(noun: Noun, rng: Random) -> str:
    count, thing = len(noun.objects), _plural(WORDS.pick(rng, "generic"))
    if count == 2:
        return f"both {thing}"
    return f"all {_NUMBERS[count]} {thing}" if rng.random() < 0.5 else f"all {thing}"


def _alike(message: Message, rng: Random) -> str:
    noun, name = message.nouns[0], _all(message.nouns[0], rng)
    if message.value == "shape":
        return f"{name} are {_plural(WORDS.pick(rng, noun.first.shape))}"
    if message.value == "color":
        return f"{name} are {WORDS.pick(rng, noun.first.color)}"
    return f"{name} are {WORDS.pick(rng, noun.first.texture)}"


def _same(message: Message, rng: Random) -> str:
    word = {"color": "color", "shape": "shape", "texture": "pattern"}[message.value]
    name = _all(message.nouns[0], rng)
    if message.value == "shape":
        name = name.replace("shapes", "objects")
    verb = "have" if rng.random() < 0.75 else "share"
    return f"{name} {verb} the same {word}"


def _different(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    thing = _plural(WORDS.pick(rng, "generic")) if message.value == "color" else "objects"
    name = f"{_NUMBERS[len(noun.objects)]} {thing}"
    word = f"{message.value}s"
    choice = rng.random()
    if choice < 0.4:
        return f"{name} of different {word}"
    if choice < 0.7:
        return f"there are {name} of different {word}"
    return f"the {name} have different {word}"


def _property(message: Message, rng: Random) -> str:
    noun, name = message.nouns[0], _np(message.nouns[0], rng)
    if message.value == "color":
        return f"{name} is {WORDS.pick(rng, noun.first.color)}"
    if message.value == "size":
        return f"{name} is {WORDS.pick(rng, noun.first.size)}"
    if noun.first.texture != "solid" and rng.random() < 0.3:
        return f"{name} has {WORDS.pick(rng, f'with {noun.first.texture}')}"
    return f"{name} is {WORDS.pick(rng, noun.first.texture)}"


def _background(message: Message, rng: Random) -> str:
    ground = message.ground or Ground()
    if ground.pattern == "meadow":
        return "there is a meadow in the background"
    word = "background" if rng.random() < 0.8 else "wall"
    return f"the {word} is {_ground_words(ground, rng)}"


_SENTENCES: dict[str, Callable[[Message, Random], str]] = {
    "listing": _listing,
    "relation": _relation,
    "between": _between,
    "placed": _placed,
    "placed pair": _placed_pair,
    "counted": _counted,
    "total": _total,
    "extreme": _extreme,
    "compare": _compare,
    "alike": _alike,
    "same": _same,
    "different": _different,
    "property": _property,
    "background": _background,
}
