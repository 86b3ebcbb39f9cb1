"""Chinese sentences for messages about a scene: word choice, measure words, sentence patterns."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from captionlab.shapes.plan import Ground, Message, Noun
from captionlab.shapes.words import CHINESE as WORDS

_COUNTED_AS_PIECES = ("星星", "五角星", "爱心")  # these take 颗 as well as 个
_NUMBERS = ("零", "一", "两", "三", "四")
# what stands directly before the noun, instead of a longer word with 的 in front
_CLOSE = {"small": "小", "large": "大", "striped": "条纹", "dotted": "波点", "checkered": "格子"}


def chinese(message: Message, rng: Random) -> str:
    """Return one sentence that says what the message says."""
    ground = message.ground if message.kind != "background" else None
    if ground and message.kind in ("listing", "counted", "total") and rng.random() < 0.6:
        names = _series([_np(noun, rng) for noun in message.nouns], rng)
        return f"{_behind(ground, rng)}有{names}。"
    text = _SENTENCES[message.kind](message, rng)
    return f"{text}，背景{_ground_said(ground, rng)}。" if ground else f"{text}。"


def _name(noun: Noun, rng: Random) -> tuple[str, str]:
    """Return attributes with their noun, and the noun alone, which rules the measure word."""
    thing, said = noun.first, noun.attributes
    head = WORDS.pick(rng, thing.shape if "shape" in said else "generic")
    if said == {"shape"} and len(head) == 1:
        head = WORDS.usual(thing.shape)  # 圆最大 is too short to be said
    before, close = "", ""
    for attribute in ("size", "texture"):
        value = getattr(thing, attribute)
        if attribute in said and value in _CLOSE and rng.random() < 0.5:
            close += _CLOSE[value]
        elif attribute in said:
            before += WORDS.pick(rng, value)
    if "color" in said:
        color = WORDS.pick(rng, thing.color)
        # 红色圆形, but 红色的小圆形; and no chain of 的: 带条纹的红色圆形
        bare = rng.random() < (0.85 if before else 0.0 if close else 0.4)
        before += color if bare else f"{color}的"
    return f"{before}{close}{head}", head


def _np(noun: Noun, rng: Random) -> str:
    """Return a whole noun phrase: number and measure word unless it is definite."""
    words, head = _name(noun, rng)
    if noun.definite and len(noun.objects) == 1:
        return words
    measure = "颗" if head in _COUNTED_AS_PIECES and rng.random() < 0.8 else "个"
    return f"{_NUMBERS[len(noun.objects)]}{measure}{words}"


def _series(parts: list[str], rng: Random) -> str:
    if len(parts) == 1:
        return parts[0]
    return f"{'、'.join(parts[:-1])}{'和' if rng.random() < 0.85 else '与'}{parts[-1]}"


def _seen(rng: Random) -> str:
    """Return 图中有, 画面中可以看到, 图片展示了 or one of their likes."""
    if rng.random() < 0.12:
        return WORDS.pick(rng, "show")
    return WORDS.pick(rng, "scene") + WORDS.pick(rng, "have")


def _framed(text: str, rng: Random) -> str:
    """Return a noun phrase as it is, or as what is to be seen in the picture."""
    return text if rng.random() < 0.25 else f"{_seen(rng)}{text}"


def _ground_words(ground: Ground, rng: Random) -> str:
    """Return the background's adjectives: 深色, 深蓝色, 蓝色."""
    grain = "带颗粒的" if ground.pattern == "grainy" else ""
    if not ground.color:
        return grain + (WORDS.pick(rng, ground.tone) if ground.tone else "")
    tone = WORDS.pick(rng, f"shade {ground.tone}") if ground.tone else ""
    return f"{grain}{tone}{WORDS.pick(rng, ground.color)}"


def _ground_said(ground: Ground, rng: Random) -> str:
    if ground.pattern == "meadow":
        return WORDS.pick(rng, "is meadow")
    words = _ground_words(ground, rng)
    return f"是{words}的" if rng.random() < 0.8 or words == "明亮" else f"为{words}"


def _behind(ground: Ground, rng: Random) -> str:
    """Return the background as the place where something is: 深蓝色的背景上."""
    if ground.pattern == "meadow":
        return WORDS.pick(rng, "meadow")
    words = _ground_words(ground, rng)
    of = "的" if words == "明亮" or rng.random() < 0.5 else ""
    return f"{words}{of}{WORDS.pick(rng, 'behind')}"


def _listing(message: Message, rng: Random) -> str:
    return _framed(_series([_np(noun, rng) for noun in message.nouns], rng), rng)


def _place(place: str, rng: Random) -> str:
    """Return a place in the picture: 左边, 图片左边, 画面的左边."""
    words, choice = WORDS.pick(rng, f"at {place}"), rng.random()
    if choice < 0.5:
        return words
    return f"{WORDS.pick(rng, 'whole')}{'的' if choice > 0.8 else ''}{words}"


def _placed(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    name, place = _np(noun, rng), _place(noun.place, rng)
    if noun.definite or rng.random() < 0.2:
        return f"{name}{WORDS.pick(rng, 'be at')}{place}"
    return f"{place}{WORDS.pick(rng, 'have here')}{name}"


def _placed_pair(message: Message, rng: Random) -> str:
    (first, here), (second, there) = (
        (_np(noun, rng), WORDS.pick(rng, f"at {noun.place}")) for noun in message.nouns
    )
    choice = rng.random()
    if choice < 0.45:
        return f"{here}有{first}，{there}有{second}"
    if choice < 0.75:
        return f"{here}是{first}，{there}是{second}"
    return f"{first}在{here}，{second}在{there}"


def _relation(message: Message, rng: Random) -> str:
    first, second = (_np(noun, rng) for noun in message.nouns)
    if message.value == "inside" and rng.random() < 0.25:
        return first + WORDS.pick(rng, "inside of").format(second)
    word = WORDS.pick(rng, f"rel {message.value}")
    if message.value == "beside" and rng.random() < 0.3:
        return f"{first}挨着{second}"
    where = f"{second}{'的' if len(word) > 1 and rng.random() < 0.5 else ''}{word}"
    definite = message.nouns[0].definite
    if definite or rng.random() < 0.6:
        return f"{first}{WORDS.pick(rng, 'be at')}{where}"
    return f"{where}有{first}"


def _between(message: Message, rng: Random) -> str:
    middle, *ends = (_np(noun, rng) for noun in message.nouns)
    word = WORDS.pick(rng, "between")
    of = "的" if word == "中间" and rng.random() < 0.5 else ""
    where = f"{'和'.join(ends)}{of}{word}"
    choice = rng.random()
    if message.nouns[0].definite or choice < 0.6:
        return f"{middle}{WORDS.pick(rng, 'be between')}{where}"
    return f"{where}有{middle}"


def _total(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    name = f"{_NUMBERS[len(noun.objects)]}个{_name(noun, rng)[0]}"
    if len(noun.objects) == 1:
        return f"{WORDS.pick(rng, 'scene')}只有{name}"
    return f"{WORDS.pick(rng, 'scene')}{WORDS.pick(rng, 'have in all')}{name}"


def _extreme(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    word = WORDS.pick(rng, message.value)
    thing = WORDS.pick(rng, "generic")
    if "shape" not in noun.attributes:
        return f"{word}的{thing}是{WORDS.pick(rng, noun.first.color)}的"
    if noun.definite and rng.random() < 0.5:
        return f"{_np(noun, rng)}{word if rng.random() < 0.5 else f'是{word}的{thing}'}"
    words = _name(noun, rng)[0]
    return f"{word}的{thing}是{words if noun.definite else f'一个{words}'}"


def _compare(message: Message, rng: Random) -> str:
    first, second = (_np(noun, rng) for noun in message.nouns)
    return f"{first}比{second}{WORDS.pick(rng, message.value)}"


def _all(noun: Noun, rng: Random) -> str:
    thing = WORDS.pick(rng, "generic")
    count = len(noun.objects)
    return f"{_NUMBERS[count]}个{thing}" if count == 2 or rng.random() < 0.5 else f"所有{thing}"


def _alike(message: Message, rng: Random) -> str:
    noun, name = message.nouns[0], _all(message.nouns[0], rng)
    if message.value == "shape":
        return f"{name}{WORDS.pick(rng, 'all are')}{WORDS.pick(rng, noun.first.shape)}"
    if message.value == "color":
        return f"{name}{WORDS.pick(rng, 'all are')}{WORDS.pick(rng, noun.first.color)}的"
    return f"{name}都{WORDS.pick(rng, f'has {noun.first.texture}')}"


def _same(message: Message, rng: Random) -> str:
    word = {"color": "颜色", "shape": "形状", "texture": "花纹"}[message.value]
    name = _all(message.nouns[0], rng)
    of = "的" if rng.random() < 0.5 else ""
    return f"{name}{of}{word}{WORDS.pick(rng, 'same')}"


def _different(message: Message, rng: Random) -> str:
    noun = message.nouns[0]
    word = {"color": "颜色", "shape": "形状"}[message.value]
    count, thing = _NUMBERS[len(noun.objects)], WORDS.pick(rng, "generic")
    choice = rng.random()
    if choice < 0.5:
        return f"{count}个{thing}{'的' if choice < 0.25 else ''}{word}不同"
    return f"{WORDS.pick(rng, 'scene')}有{count}个{word}不同的{thing}"


def _property(message: Message, rng: Random) -> str:
    noun, name = message.nouns[0], _np(message.nouns[0], rng)
    if message.value == "color":
        return f"{name}是{WORDS.pick(rng, noun.first.color)}的"
    if message.value == "size":
        return f"{name}{'很小' if noun.first.size == 'small' else '很大'}"
    return f"{name}{WORDS.pick(rng, f'has {noun.first.texture}')}"


def _background(message: Message, rng: Random) -> str:
    ground = message.ground or Ground()
    name = "背景" if ground.pattern == "meadow" else WORDS.pick(rng, "background")
    return f"{name}{_ground_said(ground, rng)}"


_SENTENCES: dict[str, Callable[[Message, Random], str]] = {
    "listing": _listing,
    "relation": _relation,
    "between": _between,
    "placed": _placed,
    "placed pair": _placed_pair,
    "counted": _listing,
    "total": _total,
    "extreme": _extreme,
    "compare": _compare,
    "alike": _alike,
    "same": _same,
    "different": _different,
    "property": _property,
    "background": _background,
}
