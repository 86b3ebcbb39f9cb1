"""Chinese sentences: words, measure words and sentence patterns."""

from __future__ import annotations

from captionlab.shapes.write.grammar import Grammar

_TABLE = """
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
inside of: 被{b}包围着 2 | 被{b}围住 1
amid: 之间 3 | 中间 2
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
alike in: 相同 3 | 一样 2
before background: 背景上 6 | 背景前 1 | 墙前 1
before meadow: 草地和蓝天前 3 | 蓝天下 2 | 草地上 2 | 天空和草地前 1
is meadow: 是草地和蓝天 4 | 是草地 1
name of background: 背景 4 | 底色 1
light: 浅色 8 | 明亮 1
dark: 深色 7 | 暗色 2
shade light: 浅 5 | 淡 2
shade dark: 深 6 | 暗 1
number 1: 一
number 2: 两
number 3: 三
number 4: 四
comma: 、
and: 和 0.85 | 与 0.15
and others: 和
near small: 小
near large: 大
near striped: 条纹
near dotted: 波点
near checkered: 格子
property color: 颜色
property shape: 形状
property texture: 花纹
short circle: 圆形
short ring: 圆环

sentence
    ? ground and kind=listing/counted/total and .6: {before it}
    {with background}
before it
    names = {nouns}
    {behind}有{names}。
with background
    text = {$kind}
    ? ground and not kind=background: {text}，背景{is the background}。
    {text}。

# noun phrases: number and measure word unless it is definite
phrase
    words = {bare}
    ? definite and not many: {words}
    {number $count}{measure}{words}
measure
    ? head=星星/五角星/爱心 and .8: 颗
    个
bare
    head = {noun}
    near size = {size near}
    far size = {size far}
    near texture = {texture near}
    far texture = {texture far}
    far = {far size}{far texture}
    near = {near size}{near texture}
    {far}{hue}{near}{head}
noun
    word = {named}
    ? shape and not color and not size and not texture and alone: {short $shape}
    {word}
named
    ? shape: {$shape}
    {generic}
# what stands directly before the noun, instead of a longer word with 的 in front
size near
    ? size and not size=medium and .5: {near $size}
    ""
size far
    ? size and not near size: {$size}
    ""
texture near
    ? texture and not texture=solid and .5: {near $texture}
    ""
texture far
    ? texture and not near texture: {$texture}
    ""
# 红色圆形, but 红色的小圆形; and no chain of 的: 带条纹的红色圆形
hue
    ? color: {colored}
    ""
colored
    dye = {$color}
    ? .85 and far: {dye}
    ? .4 and not far and not near: {dye}
    {dye}的

# what is there
see
    ? .12: {show}
    {scene}{have}
framed
    ? .25: {text}
    {see}{text}
listing
    text = {nouns}
    {framed}
counted
    text = {nouns}
    {framed}
total
    text = {number $count}个{bare}
    ? not many: {scene}只有{text}
    {scene}{have in all}{text}

# where it is
located
    here = {at $place}
    ? .5: {here}
    ? .8: {whole}{here}
    {whole}的{here}
placed
    a = {0}
    there = {located}
    ? definite or .2: {a}{be at}{there}
    {there}{have here}{a}
corner
    {at $place}
placed pair
    a = {0}
    first = {0.corner}
    b = {1}
    second = {1.corner}
    ? .45: {first}有{a}，{second}有{b}
    ? .75: {first}是{a}，{second}是{b}
    {a}在{first}，{b}在{second}
relation
    a = {0}
    b = {1}
    ? value=inside and .25: {a}{inside of}
    {related}
related
    rel = {rel $value}
    ? value=beside and .3: {a}挨着{b}
    {sided}
sided
    spot = {beyond}
    ? definite or .6: {a}{be at}{spot}
    {spot}有{a}
beyond
    ? long relation and .5: {b}的{rel}
    {b}{rel}
between
    a = {0}
    ends = {others}
    middle = {amid}
    spot = {ends}{of middle}
    ? .6 or definite: {a}{be between}{spot}
    {spot}有{a}
of middle
    ? middle=中间 and .5: 的{middle}
    {middle}

# what it is like
extreme
    most = {$value}
    thing = {generic}
    ? not shape: {most}的{thing}是{$color}的
    ? definite and .5: {0}{superlative}
    {most}的{thing}是{only or one}
superlative
    ? .5: {most}
    是{most}的{thing}
only or one
    ? definite: {bare}
    一个{bare}
compare
    a = {0}
    b = {1}
    {a}比{b}{$value}
all
    thing = {generic}
    ? count=2 or .5: {number $count}个{thing}
    所有{thing}
alike
    a = {all}
    ? value=shape: {a}{all are}{$shape}
    ? value=color: {a}{all are}{$color}的
    {a}都{has $texture}
same
    a = {all}
    ? .5: {a}的{property $value}{alike in}
    {a}{property $value}{alike in}
different
    thing = {generic}
    ? .25: {number $count}个{thing}的{property $value}不同
    ? .5: {number $count}个{thing}{property $value}不同
    {scene}有{number $count}个{property $value}不同的{thing}
property
    a = {0}
    ? value=color: {a}是{$color}的
    ? value=size: {a}很{near $size}
    {a}{has $texture}

# what is behind it
background
    name = {name it}
    {name}{is the background}
name it
    ? pattern=meadow: 背景
    {name of background}
is the background
    ? pattern=meadow: {is meadow}
    {is so}
is so
    words of it = {backdrop}
    ? .8 or words of it=明亮: 是{words of it}的
    为{words of it}
behind
    ? pattern=meadow: {before meadow}
    {before plain}
before plain
    words of it = {backdrop}
    ? words of it=明亮 or .5: {words of it}的{before background}
    {words of it}{before background}
backdrop
    ? pattern=grainy: 带颗粒的{shade}
    {shade}
shade
    ? tone and tint: {shade $tone}{$ground}
    ? tint: {$ground}
    ? tone: {$tone}
    ""
"""

GRAMMAR = Grammar(
    _TABLE,
    longest=32,
    spaced=False,
    conditions={
        "alone": lambda s: len(s.made["word"]) == 1,  # 圆最大 is too short to be said
        "long relation": lambda s: len(s.made["rel"]) > 1,
    },
)
