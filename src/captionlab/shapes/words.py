"""The words that the sentences are made of: alternatives with their weights, one line for each key.

A line reads `key: word weight | word weight`; a word without a weight has weight 1. The readers do
not use these tables.
"""

from __future__ import annotations

from random import Random

_ENGLISH = """
circle: circle 8 | disk 2
square: square 8 | box 2
triangle: triangle
star: star
cross: cross 8 | plus sign 2
heart: heart
diamond: diamond 8 | rhombus 2
ring: ring 8 | hoop 2
generic: shape 6 | object 3 | figure 1 | thing 0.5 | item 0.5
red: red 19 | scarlet 1
orange: orange
yellow: yellow
green: green
blue: blue
purple: purple 8 | violet 2
pink: pink
white: white
black: black
gray: gray
beige: beige
brown: brown
small: small 7 | little 2 | tiny 1
medium: medium-sized 7 | mid-sized 3
large: large 5 | big 4 | huge 1
solid: plain | solid
striped: striped 8 | stripy 2
dotted: dotted 5 | spotted 4 | polka-dotted 1
checkered: checkered 8 | checked 2
with solid: solid
with striped: stripes
with dotted: dots 5 | spots 3 | polka dots 2
with checkered: checks 4 | a checkered pattern 3
rel left: to the left of 6 | left of 2 | on the left of 1 | on the left side of 0.6
rel right: to the right of 6 | right of 2 | on the right of 1 | on the right side of 0.6
rel above: above 7 | over 1.5 | higher than 0.5
rel below: below 5 | under 2 | beneath 1.5 | underneath 0.7 | lower than 0.5
rel beside: next to 5 | beside 3 | alongside 0.6
rel inside: inside 7 | in 2 | within 1
inverse left: to its right 3 | on its right 1
inverse right: to its left 3 | on its left 1
inverse above: below it 3 | under it 2 | beneath it 1
inverse below: above it 4 | over it 1
inverse beside: next to it 3 | beside it 1
around: inside | inside it | in it
stands: sits 2 | stands 1 | lies 1 | is placed 1.5 | is located 0.6 | is drawn 0.6
stands above: hangs 2 | floats 1 | sits 1 | is placed 1 | is shown 0.5
stands inside: sits 2 | lies 2 | is placed 1 | is drawn 1 | fits 0.5
fronted: is 4 | there is 3 | sits 1 | we see 1
at left: on the left 6 | on the left side 2 | at the left 1 | on the left of the picture 0.6
at right: on the right 6 | on the right side 2 | at the right 1 | on the right of the picture 0.6
at top: at the top 6 | near the top 1.5 | in the upper half 1 | at the top of the image 0.7
at bottom: at the bottom 6 | near the bottom 1.5 | in the lower half 1
at bottom: at the bottom of the image 0.7
at center: in the middle 4 | in the center 4 | at the center 1 | in the middle of the picture 1
at top left: in the top left corner 4 | in the upper left corner 3 | at the top left 2
at top right: in the top right corner 4 | in the upper right corner 3 | at the top right 2
at bottom left: in the bottom left corner 4 | in the lower left corner 3 | at the bottom left 2
at bottom right: in the bottom right corner 4 | in the lower right corner 3 | at the bottom right 2
exist: there is 6 | we see 1 | you can see 1 | one can see 0.4
show: this picture shows 4 | the picture shows 3 | the image shows 3 | the image contains 2
show: the drawing shows 2 | this drawing depicts 1 | the scene contains 1
show: an image of 3 | a picture of 3
largest: largest 5 | biggest 4
smallest: smallest
larger: larger 5 | bigger 4
smaller: smaller
behind: on a {} background 9 | against a {} background 3 | in front of a {} background 1
behind: on a {} backdrop 1 | in front of a {} wall 2 | against a {} wall 1 | on a {} wall 0.6
meadow: in front of a meadow 3 | on a green meadow 2 | in a meadow 1 | under a blue sky 2
meadow: in front of green grass 1 | in front of grass and sky 2 | in front of a lawn 0.6
light: light 7 | bright 2 | pale 1
dark: dark
"""

_CHINESE = """
circle: 圆形 8 | 圆 1 | 圆盘 1
square: 正方形 6 | 方块 3 | 方形 1
triangle: 三角形
star: 星星 6 | 五角星 4
cross: 十字 6 | 十字形 3 | 加号 1
heart: 爱心 5 | 心形 4 | 桃心 0.5
diamond: 菱形
ring: 圆环 9 | 环 1
generic: 图形 6 | 物体 3 | 东西 0.5 | 物品 0.4
red: 红色
orange: 橙色 8 | 橘色 2
yellow: 黄色
green: 绿色
blue: 蓝色
purple: 紫色
pink: 粉色 6 | 粉红色 4
white: 白色
black: 黑色
gray: 灰色
beige: 米色
brown: 棕色 5 | 褐色 4 | 咖啡色 1
small: 小小的 2 | 很小的 2 | 较小的 1 | 迷你的 0.5
medium: 中等大小的 3 | 不大不小的 1
large: 很大的 3 | 大大的 1 | 较大的 1 | 巨大的 1 | 硕大的 0.5
solid: 没有花纹的 | 纯色的
striped: 带条纹的 3 | 有条纹的 1
dotted: 带圆点的 3 | 有斑点的 1 | 带斑点的 1
checkered: 带格子的 3 | 有方格的 1
has solid: 没有花纹
has striped: 带条纹 2 | 有条纹 2 | 是条纹图案的 1
has dotted: 带圆点 2 | 有圆点 2 | 有斑点 1
has checkered: 带格子 2 | 有格子 2 | 是格子图案的 1
rel left: 左边 6 | 左侧 3 | 左面 1 | 左方 1
rel right: 右边 6 | 右侧 3 | 右面 1 | 右方 1
rel above: 上方 5 | 上面 4 | 上边 1
rel below: 下方 5 | 下面 4 | 下边 1
rel beside: 旁边
rel inside: 里面 5 | 内部 1 | 里 1 | 中 1
inside of: 被{}包围着 2 | 被{}围住 1
between: 之间 3 | 中间 2
be at: 在 3 | 位于 1
be between: 在 6 | 位于 2 | 夹在 1
at left: 左边 5 | 左侧 3 | 左手边 0.5
at right: 右边 5 | 右侧 3 | 右手边 0.5
at top: 上方 5 | 顶部 2 | 上面 1
at bottom: 下方 5 | 底部 2 | 下面 1
at center: 中间 4 | 中央 3 | 正中间 1 | 中心 1
at top left: 左上角 5 | 左上方 1
at top right: 右上角 5 | 右上方 1
at bottom left: 左下角 5 | 左下方 1
at bottom right: 右下角 5 | 右下方 1
whole: 图片 3 | 画面 3 | 图 0.5
scene: 图中 6 | 图片中 3 | 画面中 3 | 这张图里 2 | 画面上 1 | 这幅画里 1
have: 有 8 | 可以看到 2 | 画着 1 | 能看见 0.5
have here: 有 16 | 是 3 | 放着 1 | 摆着 1
have in all: 有 5 | 共有 1 | 一共有 3 | 总共有 1 | 恰好有 1
show: 图片展示了 2 | 图片显示了 1 | 这幅画描绘了 1 | 我们可以看到 1
largest: 最大
smallest: 最小
larger: 大 6 | 更大 2 | 大一些 1
smaller: 小 6 | 更小 2 | 小一些 1
all are: 都是 4 | 全是 1
same: 相同 3 | 一样 2
behind: 背景上 6 | 背景前 1 | 墙前 1
meadow: 草地和蓝天前 3 | 蓝天下 2 | 草地上 2 | 天空和草地前 1
is meadow: 是草地和蓝天 4 | 是草地 1
background: 背景 4 | 底色 1
light: 浅色 8 | 明亮 1
dark: 深色 7 | 暗色 2
shade light: 浅 5 | 淡 2
shade dark: 深 6 | 暗 1
"""


class Words:
    """The alternatives of one language, picked by key."""

    def __init__(self, table: str) -> None:
        self._choices: dict[str, tuple[list[str], list[float]]] = {}
        for line in table.strip().splitlines():
            key, _, alternatives = line.partition(": ")
            words, weights = self._choices.setdefault(key, ([], []))
            for alternative in alternatives.split(" | "):
                word, _, weight = alternative.rpartition(" ")
                weighted = weight.replace(".", "").isdecimal()
                words.append(word if weighted else alternative)
                weights.append(float(weight) if weighted else 1.0)

    def __contains__(self, key: str) -> bool:
        return key in self._choices

    def pick(self, rng: Random, key: str) -> str:
        """Return one of the alternatives for a key, the heavier the more often."""
        words, weights = self._choices[key]
        return words[0] if len(words) == 1 else rng.choices(words, weights)[0]

    def usual(self, key: str) -> str:
        """Return the first alternative for a key."""
        return self._choices[key][0][0]


ENGLISH = Words(_ENGLISH)
CHINESE = Words(_CHINESE)
