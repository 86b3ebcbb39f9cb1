"""The words that the readers know: phrases with a category and a value, one line for each pair.

A line reads `category value: phrase | phrase`. The generators of sentences do not use these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

Token = tuple[str, str]
Tokens = tuple[Token, ...]

_ENGLISH = """
a -: a | an | another
the -: the
n 1: one | a single | exactly one | only one | just one
n 2: two | exactly two | only two | a pair of
n 3: three | exactly three | only three
n 4: four | exactly four | only four
the_n 2: the two
the_n 3: the three
the_n 4: the four
all 0: all | all the | all of the
each 0: every | each
all 2: both | both of the | both the | all two
all 3: all three | all of the three | all the three
all 4: all four | all of the four | all the four
shape circle: circle | disk | disc
shape square: square | box
shape triangle: triangle
shape star: star
shape cross: cross | plus sign | plus
shape heart: heart
shape diamond: diamond | rhombus
shape ring: ring | hoop
shape -: shape | object | figure | thing | item
shapes circle: circles | disks | discs
shapes square: squares | boxes
shapes triangle: triangles
shapes star: stars
shapes cross: crosses | plus signs
shapes heart: hearts
shapes diamond: diamonds | rhombuses
shapes ring: rings | hoops
shapes -: shapes | objects | figures | things | items
color red: red | scarlet
color orange: orange
color yellow: yellow
color green: green
color blue: blue
color purple: purple | violet
color pink: pink
color white: white
color black: black
color gray: gray | grey
color beige: beige
color brown: brown
size small: small | little | tiny
size medium: medium-sized | mid-sized | medium sized | mid sized | medium
size large: large | big | huge
texture striped: striped | stripy
texture dotted: dotted | spotted | polka-dotted | polka dotted
texture checkered: checkered | checked | chequered
texture solid: plain | solid
with_texture striped: with stripes | with a striped pattern
with_texture dotted: with dots | with spots | with polka dots | with a dotted pattern
with_texture checkered: with checks | with a checkered pattern
has_texture striped: has stripes | has a striped pattern
has_texture dotted: has dots | has spots | has polka dots | has a dotted pattern
has_texture checkered: has checks | has a checkered pattern
extreme largest: largest | biggest
extreme smallest: smallest
than larger: larger than | bigger than
than smaller: smaller than
rel left: to the left of | left of | on the left of | on the left side of | at the left of
rel right: to the right of | right of | on the right of | on the right side of | at the right of
rel above: above | over | higher than
rel below: below | under | beneath | underneath | lower than
rel beside: next to | beside | alongside
rel inside: inside | inside of | in | within | surrounded by | enclosed by | in the middle of
rel around: around
rel_it left: to its left | on its left | at its left
rel_it right: to its right | on its right | at its right
rel_it above: above it | over it
rel_it below: below it | under it | beneath it
rel_it beside: next to it | beside it
rel_it inside: inside it | in it | within it
verb around: surrounds | contains | encloses
between -: between | in between
same color: have the same color | share the same color | are of the same color
same shape: have the same shape | share the same shape | are of the same shape
same texture: have the same pattern | share the same pattern
same size: have the same size | are of the same size
different color: have different colors | are of different colors
different shape: have different shapes | are of different shapes
of_different color: of different colors
of_different shape: of different shapes
exist -: there is | there are | we see | we can see | you see | you can see | one can see
skip -: in the picture | in the image | in this picture | in this image | in the drawing
is one: is
is many: are
stands one: sits | stands | lies | hangs | floats | fits | is placed | is located | is drawn
stands one: is shown
stands many: sit | stand | lie | hang | float | are placed | are located | are drawn | are shown
seen -: can be seen
of_all 0: of all
of_all 2: of the two
of_all 3: of the three
of_all 4: of the four
and -: and | while
with -: with
that -: that | which
before -: on | against | in front of
ground -: background | backdrop | wall
tone light: light | bright | pale
tone dark: dark
tone grainy: grainy
meadow -: under a blue sky | in front of green grass | in front of grass and sky
meadow -: in front of a meadow | on a meadow | in a meadow | on a green meadow | in a green meadow
meadow -: in front of a green meadow | on a lawn | in front of a lawn
meadow_clause -: a meadow in the background
"""

_CHINESE = """
a -: 一个 | 一颗 | 一枚
n 1: 只有一个 | 仅有一个
n 2: 两个 | 两颗 | 二个
n 3: 三个 | 三颗
n 4: 四个 | 四颗
all 0: 所有 | 所有的 | 全部
shape circle: 圆形 | 圆 | 圆盘
shape square: 正方形 | 方块 | 方形
shape triangle: 三角形
shape star: 星星 | 五角星
shape cross: 十字 | 十字形 | 加号
shape heart: 心形 | 爱心 | 桃心
shape diamond: 菱形
shape ring: 圆环 | 环 | 环形
shape -: 图形 | 物体 | 东西 | 物品
color red: 红色
color orange: 橙色 | 橘色
color yellow: 黄色
color green: 绿色
color blue: 蓝色
color purple: 紫色
color pink: 粉色 | 粉红色
color white: 白色
color black: 黑色
color gray: 灰色
color beige: 米色
color brown: 棕色 | 褐色 | 咖啡色
size small: 小 | 很小 | 小小 | 较小 | 迷你
size medium: 中等大小 | 不大不小
size large: 大 | 很大 | 大大 | 巨大 | 较大 | 硕大
texture striped: 条纹 | 带条纹 | 有条纹 | 条纹图案
texture dotted: 圆点 | 带圆点 | 有圆点 | 斑点 | 带斑点 | 有斑点 | 波点
texture checkered: 格子 | 带格子 | 有格子 | 方格 | 带方格 | 有方格 | 格子图案
texture solid: 没有花纹 | 纯色
extreme largest: 最大
extreme smallest: 最小
more larger: 更大 | 大一些
more smaller: 更小 | 小一些
side left: 左边 | 左手边 | 左侧 | 左面 | 左方
side right: 右边 | 右手边 | 右侧 | 右面 | 右方
side above: 上方 | 上面 | 上边
side below: 下方 | 下面 | 下边
edge top: 顶部 | 上半部分
edge bottom: 底部 | 下半部分
edge top left: 左上角 | 左上方
edge top right: 右上角 | 右上方
edge bottom left: 左下角 | 左下方
edge bottom right: 右下角 | 右下方
center -: 中央 | 中间 | 正中间 | 正中央 | 中心
rel beside: 旁边 | 旁
rel inside: 里面 | 里 | 内部 | 内 | 中
between -: 之间
of -: 的
at -: 在 | 位于 | 处在 | 画在 | 夹在
is -: 是 | 为
have -: 有 | 可以看到 | 能看到 | 看得到 | 画着 | 画有 | 共有 | 一共有 | 总共有 | 恰好有
have -: 能看见 | 可以看见 | 放着 | 摆着
scene -: 图中 | 图里 | 图上 | 图片中 | 图片里 | 图片上 | 画面中 | 画面里 | 画面上 | 画里 | 画中
scene -: 这张图里 | 这张图中 | 这张图片里 | 这张图片中 | 这幅画里 | 这幅画中 | 这里
all_of -: 都 | 全
shows -: 图片展示了 | 图片显示了 | 这幅画描绘了 | 我们可以看到
than -: 比
and -: 和 | 与 | 以及 | 还有 | 而
by -: 被
touch -: 挨着
around -: 包围 | 围住 | 围着 | 包围着 | 包围住
same color: 颜色相同 | 颜色一样 | 颜色都一样 | 颜色都相同
same shape: 形状相同 | 形状一样 | 形状都一样 | 形状都相同
same texture: 花纹相同 | 花纹一样 | 花纹都一样 | 花纹都相同
different color: 颜色不同 | 颜色不一样 | 颜色各不相同
different shape: 形状不同 | 形状不一样 | 形状各不相同
tone light: 浅 | 淡 | 浅色 | 明亮 | 亮色
tone dark: 深 | 暗 | 深色 | 暗色
tone grainy: 带颗粒 | 有颗粒
ground -: 背景 | 底色
ground_at -: 背景上 | 背景前 | 背景中 | 墙前
meadow -: 草地和蓝天 | 蓝天和草地 | 天空和草地 | 草地
meadow_at -: 草地上 | 蓝天下 | 草地和蓝天前 | 蓝天和草地前 | 天空和草地前 | 草地前
"""


def _read(table: str) -> dict[str, Token]:
    phrases: dict[str, Token] = {}
    for line in table.strip().splitlines():
        head, _, tail = line.partition(":")
        category, _, value = head.partition(" ")
        for phrase in tail.split("|"):
            phrases[phrase.strip()] = (category, value.strip("- "))
    return phrases


def _english_places() -> dict[str, Token]:
    """Return "at the top", "in the upper left corner of the picture" and their likes."""
    sides = {side: side for side in ("left", "right", "top", "bottom")}
    forms = [(f"{prep} the {side}", side) for side in sides for prep in ("at", "on", "near")]
    forms += [(f"on the {side} side", side) for side in ("left", "right")]
    forms += [("in the upper half", "top"), ("in the lower half", "bottom")]
    forms += [
        (f"{prep} the {word}", "center") for prep in ("in", "at") for word in ("center", "middle")
    ]
    rows = {"top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
    for (word, row), side in product(rows.items(), ("left", "right")):
        forms += [(f"{prep} the {word} {side} corner", f"{row} {side}") for prep in ("in", "at")]
        forms += [(f"at the {word} {side}", f"{row} {side}")]
    wholes = ["", *(f" of the {word}" for word in ("picture", "image", "drawing", "scene"))]
    return {form + whole: ("place", place) for (form, place), whole in product(forms, wholes)}


def _english_frames() -> dict[str, Token]:
    """Return "this picture shows", "an image of" and their likes."""
    pictures = ("picture", "image", "drawing", "scene")
    verbs = ("shows", "contains", "depicts", "of")
    return {
        f"{article} {picture} {verb}": ("exist", "")
        for article, picture, verb in product(("the", "this", "a", "an"), pictures, verbs)
    }


def _chinese_places() -> dict[str, Token]:
    """Return 图片左边, 画面的右上角 and their likes; whole, since 图片上 alone opens a sentence."""
    places = {"left": "left", "right": "right", "above": "top", "below": "bottom"}
    found: dict[str, Token] = {}
    for phrase, (category, value) in _read(_CHINESE).items():
        place = {"side": places.get(value, ""), "edge": value, "center": "center"}.get(category)
        if place:
            for whole, of in product(("图片", "画面", "图"), ("", "的")):
                found[f"{whole}{of}{phrase}"] = ("edge", place)
    return found


class Lexicon:
    """Phrases of words (English) or of characters (Chinese); the longest one wins."""

    def __init__(self, phrases: dict[str, Token], separator: str | None) -> None:
        self.phrases: dict[tuple[str, ...], Token] = {
            tuple(phrase.split(separator) if separator else phrase): token
            for phrase, token in phrases.items()
        }
        self.widest = max(map(len, self.phrases))

    def tokens(self, words: Sequence[str]) -> Tokens | None:
        """Return the phrases in order, None where a word or character belongs to none."""
        tokens: list[Token] = []
        place = 0
        while place < len(words):
            for width in range(min(self.widest, len(words) - place), 0, -1):
                token = self.phrases.get(tuple(words[place : place + width]))
                if token is not None:
                    tokens.append(token)
                    place += width
                    break
            else:
                return None
        return tuple(tokens)


ENGLISH = Lexicon({**_read(_ENGLISH), **_english_places(), **_english_frames()}, " ")
CHINESE = Lexicon({**_read(_CHINESE), **_chinese_places()}, None)


def too_many_nouns(tokens: Tokens) -> bool:
    """Return whether more than six nouns stand there; a scene has at most four objects.

    Repetitive garbage ("a star on the left a star on the left ...") has thousands of readings.
    """
    return sum(category in ("shape", "shapes") for category, _ in tokens) > 6


def value_at(tokens: Tokens, place: int, *categories: str) -> str | None:
    """Return the value of the token at a place if it has one of these categories, else None."""
    if place < len(tokens) and tokens[place][0] in categories:
        return tokens[place][1]
    return None
