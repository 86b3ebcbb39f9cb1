"""Chinese as it is read: words and rules.

Spaces are ignored, and so is the choice of measure word. A noun phrase without a number names the
one object it fits; after 有 (`loose`) it names any such object.
"""

from __future__ import annotations

from collections.abc import Mapping

from captionlab.shapes.parse.parser import Parser
from captionlab.shapes.parse.semantics import (
    Description,
    Mentions,
    Phrase,
    Predicate,
    between,
    different,
    introduce,
    mention,
    related,
)

_LEXICON = """
a some: 一个 | 一颗 | 一枚
n exactly 1: 只有一个 | 仅有一个
n exactly 2: 两个 | 两颗 | 二个
n exactly 3: 三个 | 三颗
n exactly 4: 四个 | 四颗
all all: 所有 | 所有的 | 全部
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
# whole, since 图片上 alone opens a sentence
edge left: (图片/画面/图)(/的)(左边/左手边/左侧/左面/左方)
edge right: (图片/画面/图)(/的)(右边/右手边/右侧/右面/右方)
edge top: (图片/画面/图)(/的)(上方/上面/上边/顶部/上半部分)
edge bottom: (图片/画面/图)(/的)(下方/下面/下边/底部/下半部分)
edge top left: (图片/画面/图)(/的)(左上角/左上方)
edge top right: (图片/画面/图)(/的)(右上角/右上方)
edge bottom left: (图片/画面/图)(/的)(左下角/左下方)
edge bottom right: (图片/画面/图)(/的)(右下角/右下方)
edge center: (图片/画面/图)(/的)(中央/中间/正中间/正中央/中心)
center between: 中央 | 中间 | 正中间 | 正中央 | 中心
between between: 之间
rel beside: 旁边 | 旁
rel inside: 里面 | 里 | 内部 | 内
rel inside: 中
of of: 的
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

_RULES = """
sentence
    clause rest -> clause + rest
rest
    end -> ()
    [and] clause {not only_exist(clause)} rest -> clause + rest
clause
    # 背景是深蓝色的, 背景是草地和蓝天
    ground is meadow -> background("meadow")
    ground is shades:tone/color+[of] [of] -> background(*shades)
    # 图中有两个圆形: what is there need not be the only one of its kind; 图中只有一个图形
    [scene] have/shows phrases(True) -> phrases.claims
    scene phrases(True) {phrases.mentions[0].count == 1} -> phrases.claims
    # 左边有一个圆形, 方块的左边是一个圆形, 深色背景上有一个圆形
    where have/is phrases(True) -> phrases.claims + where(phrases.mentions)
    backdrop have/is phrases(True) -> phrases.claims + background(*backdrop)
    phrases(False) remark(phrases.mentions) -> phrases.claims + remark
# a bare noun without a number is not a sentence: 红色圆形
remark(subject)
    {counted(subject)} -> ()
    predicate(subject)

# 、 is gone, so 和 between noun phrases is optional
phrases(loose)
    phrase(loose) others(loose) -> join(phrase, others)
others(loose)
    -> NOTHING
    [and] phrases(loose)
phrase(loose)
    quantity:a/n/all distinct noun -> named(quantity, distinct, noun)
    distinct noun -> named("some" if loose and not noun.extreme else "the", distinct, noun)
# 红色的小圆形, 红色圆形, but not 的圆形
noun
    adjectives:extreme&size&color&texture[of] link:[of] {adjectives or not link} shape -> describe(adjectives, shape)
# 两个颜色不同的图形
distinct
    !different -> ""
    what:different of -> what

# where something is; its subject may come later
where
    edge -> at(edge)
    center -> at("center")
    side -> at(place_of[side])
    phrases(False) [of] relation:rel/side/between/center {relation == "between" or len(phrases.mentions) == 1} -> located(relation, phrases)
backdrop
    meadow_at -> ["meadow"]
    shades:tone/color+[of] [of] ground_at -> shades

# what is claimed of a subject after it
predicate(subject)
    at where -> where(subject)
    at backdrop -> background(*backdrop)
    [of] what:same -> same(subject, what)
    [of] what:different -> different(subject, what)
    which:extreme -> extreme(subject, which)
    # 比方块大, 挨着方块, 被圆环包围着, 包围着星星
    than other:phrase(False) word:size/more {word in compared} -> related(compared[word], other)(subject)
    touch other:phrase(False) -> related("beside", other)(subject)
    by other:phrase(False) around -> related("inside", other)(subject)
    around other:phrase(False) -> related("around", other)(subject)
    [all_of] is complement(subject)
    # 圆形很小 and 圆形带条纹, but 圆形是红色的
    [all_of] adjectives:extreme&size&color&texture[of] {plain(adjectives) and "color" not in adjectives} !of -> be(subject, describe(adjectives))
    [all_of] adjectives:extreme&size&color&texture[of] {superlative(adjectives)} [of] -> extreme(subject, adjectives["extreme"])
complement(subject)
    [a] noun {not noun.extreme} -> be(subject, noun)
    adjectives:extreme&size&color&texture[of] {plain(adjectives)} of !shape -> be(subject, describe(adjectives))
    # 是最大的图形, but not 是最大的红色圆形: that compares red circles only
    adjectives:extreme&size&color&texture[of] {superlative(adjectives)} [of] shape=- -> extreme(subject, adjectives["extreme"])
    adjectives:extreme&size&color&texture[of] {superlative(adjectives)} [of] !shape -> extreme(subject, adjectives["extreme"])
"""

# 上方 is "above" after a noun and "at the top" by itself
_PLACE_OF = {"left": "left", "right": "right", "above": "top", "below": "bottom"}
_COMPARED = {"small": "smaller", "large": "larger", "smaller": "smaller", "larger": "larger"}


def _named(quantity: str, distinct: str, description: Description) -> Phrase:
    noun = mention(quantity, description)
    return introduce(noun, different((noun,), distinct) if distinct else ())


def _located(relation: str, others: Phrase) -> Predicate:
    return between(others) if relation == "between" else related(relation, others)


def _counted(subject: Mentions) -> bool:
    return all(noun.quantity in ("exactly", "some") for noun in subject)


def _plain(adjectives: Mapping[str, str]) -> bool:
    return bool(adjectives) and "extreme" not in adjectives


def _superlative(adjectives: Mapping[str, str]) -> bool:
    return [*adjectives] == ["extreme"]


PARSER = Parser(
    _LEXICON,
    _RULES,
    longest=120,
    punctuation="[，。、；：！？,.;:!?]",
    spaced=False,
    names={
        "place_of": _PLACE_OF,
        "compared": _COMPARED,
        "named": _named,
        "located": _located,
        "counted": _counted,
        "plain": _plain,
        "superlative": _superlative,
    },
)
