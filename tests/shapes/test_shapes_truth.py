import re
from random import Random

import pytest

from captionlab.data.readers.shapes import captions, is_true, sample_scene
from captionlab.shapes.scene import COLORS, SIZES, Background, Scene, SceneObject
from captionlab.shapes.write import LANGUAGES

DARK = Background("grainy", "dark", "blue", 0.1, 0.1)


def thing(color, shape, x, y, size="medium", texture="solid"):
    return SceneObject(shape, color, size, texture, x, y, SIZES[size][0], 0.0, 0.0, 0.0)


# a red circle at the left, a large striped blue square at the right, a small yellow star above it
SCENE = Scene(
    (
        thing("red", "circle", 0.2, 0.7),
        thing("blue", "square", 0.7, 0.7, "large", "striped"),
        thing("yellow", "star", 0.7, 0.2, "small"),
    ),
    DARK,
)
ROW = Scene(
    (
        thing("green", "heart", 0.2, 0.5),
        thing("pink", "cross", 0.5, 0.52),
        thing("green", "heart", 0.8, 0.5),
    ),
    Background("meadow", "", "", 0.5, 0.5),
)
NESTED = Scene(
    (thing("white", "ring", 0.4, 0.4, "large"), thing("red", "star", 0.4, 0.4, "small")), DARK
)

CLAIMS = [
    # true of the scene, false of it
    (SCENE, "A red circle.", "A blue circle."),
    (SCENE, "a red disk and a yellow star", "a red disk and a red star"),
    (SCENE, "There is a striped blue square.", "There is a dotted blue square."),
    (SCENE, "A large blue square with stripes.", "A small blue square with stripes."),
    (SCENE, "A circle to the left of a square.", "A circle to the right of a square."),
    (SCENE, "The star is above the box.", "The star is below the box."),
    (SCENE, "Under a yellow star is a square.", "Under a square is a yellow star."),
    (SCENE, "A square with a star above it.", "A star with a square above it."),
    (SCENE, "A star in the top right corner.", "A star in the top left corner."),
    (SCENE, "A circle is on the left and a square on the right.", "A circle is on the right."),
    (SCENE, "The largest shape is a blue square.", "The smallest shape is a blue square."),
    (SCENE, "The star is the smallest of the three shapes.", "The circle is the smallest shape."),
    (SCENE, "The square is bigger than the star.", "The square is smaller than the star."),
    (SCENE, "There are three shapes.", "There are two shapes."),
    (SCENE, "Exactly three objects on a dark background.", "Three objects on a light background."),
    (SCENE, "A star against a grainy dark blue wall.", "A star against a dark green wall."),
    (SCENE, "The background is dark.", "The background is bright."),
    (SCENE, "Three objects of different colors.", "All shapes have the same color."),
    (SCENE, "The circle is red.", "The circle is striped."),
    (SCENE, "One star.", "Two stars."),
    (SCENE, "We see a circle, a square and a star in the picture.", "We see a circle and a ring."),
    (ROW, "A pink cross between two green hearts.", "A green heart between two crosses."),
    (ROW, "The cross is between a heart and a heart.", "The heart is between the cross."),
    (ROW, "Two green hearts and a cross.", "Three green hearts."),
    (ROW, "A pair of hearts.", "All three shapes are hearts."),
    (ROW, "A green heart is next to a pink cross.", "A green heart is above a pink cross."),
    (ROW, "A heart in front of a meadow.", "A heart on a dark background."),
    (ROW, "The cross is pink.", "The heart is green."),
    (ROW, "A green heart and another green heart.", "A cross and another cross."),
    (NESTED, "A red star inside a white ring.", "A white ring inside a red star."),
    (NESTED, "A white ring surrounds a star.", "A star surrounds a white ring."),
    (NESTED, "The star is surrounded by the ring.", "The ring is surrounded by the star."),
    (NESTED, "A ring with a red star in it.", "A ring with a white star in it."),
    (NESTED, "The two objects have different shapes.", "Both shapes are red."),
    (SCENE, "一个红色圆形。", "一个蓝色圆形。"),
    (SCENE, "图中有一颗黄色的星星", "图中有一颗红色的星星"),
    (SCENE, "红色圆形在蓝色方块的左边。", "红色圆形在蓝色方块的右边。"),
    (SCENE, "正方形上方有一颗星星", "正方形下方有一颗星星"),
    (SCENE, "星星在画面的右上角", "星星在画面的左上角"),
    (SCENE, "最大的图形是正方形", "最小的图形是正方形"),
    (SCENE, "正方形比星星大", "正方形比星星小"),
    (SCENE, "图中一共有三个图形。", "图中一共有两个图形。"),
    (SCENE, "深蓝色的背景上有三个物体", "浅蓝色的背景上有三个物体"),
    (SCENE, "一个圆形，背景是深色的。", "一个圆形，背景是浅色的。"),
    (SCENE, "正方形带条纹", "圆形带条纹"),
    (SCENE, "左边有一个圆形，右边有一个正方形", "左边有一个圆形，右边有一个圆形"),
    (ROW, "粉色十字在两颗绿色爱心之间", "绿色爱心在两个十字之间"),
    (ROW, "草地和蓝天前有两个心形", "深色背景上有两个心形"),
    (NESTED, "圆环里面有一颗红色的星星", "星星里面有一个圆环"),
    (NESTED, "星星被圆环包围着", "圆环被星星包围着"),
    (NESTED, "两个图形颜色不同", "两个图形都是红色的"),
    (SCENE, "Ein roter Kreis.", "Ein blauer Kreis."),
    (SCENE, "eine rote Scheibe und ein gelber Stern", "eine rote Scheibe und ein roter Stern"),
    (SCENE, "Es gibt ein gestreiftes blaues Quadrat.", "Es gibt ein gepunktetes blaues Quadrat."),
    (SCENE, "Ein großes blaues Quadrat mit Streifen.", "Ein kleines Quadrat mit Streifen."),
    (SCENE, "Der Kreis liegt links vom Quadrat.", "Der Kreis liegt rechts vom Quadrat."),
    (SCENE, "Über einem Quadrat schwebt ein Stern.", "Unter einem Quadrat liegt ein Stern."),
    (SCENE, "Ein Quadrat mit einem Stern darüber.", "Ein Stern mit einem Quadrat darüber."),
    (SCENE, "In der oberen rechten Ecke ist ein Stern.", "Oben links ist ein Stern."),
    (SCENE, "Man sieht einen Kreis links und ein Quadrat rechts.", "Rechts ist ein Kreis."),
    (SCENE, "Links ist ein Kreis und rechts ein Quadrat.", "Links ist ein Quadrat."),
    (SCENE, "Ein Kreis ist links, während ein Quadrat rechts ist.", "Ein Kreis ist rechts."),
    (SCENE, "Das größte Objekt ist ein blaues Quadrat.", "Das kleinste Objekt ist ein Quadrat."),
    (SCENE, "Der Stern ist am kleinsten.", "Der Kreis ist am kleinsten."),
    (SCENE, "Die größte Form ist das Quadrat.", "Die größte Form ist der Stern."),
    (SCENE, "Das Quadrat ist größer als der Stern.", "Das Quadrat ist kleiner als der Stern."),
    (SCENE, "Zu sehen sind drei Formen.", "Zu sehen sind zwei Formen."),
    (SCENE, "Drei Objekte vor dunklem Hintergrund.", "Drei Objekte vor hellem Hintergrund."),
    (SCENE, "Ein Stern vor einer dunkelblauen Wand.", "Ein Stern vor einer dunkelgrünen Wand."),
    (SCENE, "Der Hintergrund ist körnig und dunkel.", "Der Hintergrund ist hell."),
    (SCENE, "Das Quadrat hat Streifen.", "Das Quadrat hat Punkte."),
    (ROW, "Ein rosa Kreuz zwischen zwei grünen Herzen.", "Ein Herz zwischen zwei Kreuzen."),
    (ROW, "Ein Bild mit zwei Herzen.", "Ein Bild mit drei Herzen."),
    (ROW, "Ein Herz auf einer grünen Wiese.", "Ein Herz vor dunklem Hintergrund."),
    (ROW, "Im Hintergrund ist eine Wiese.", "Der Hintergrund ist dunkel."),
    (NESTED, "Ein weißer Ring umgibt einen roten Stern.", "Ein roter Stern umgibt einen Ring."),
    (NESTED, "Der Stern ist vom Ring umgeben.", "Der Ring ist vom Stern umgeben."),
    (NESTED, "Ein Ring mit einem roten Stern darin.", "Ein Ring mit einem weißen Stern darin."),
    (NESTED, "Im weißen Ring liegt ein Stern.", "Im roten Stern liegt ein Ring."),
    (NESTED, "Ein Ring um einen Stern.", "Ein Stern um einen Ring."),
    (NESTED, "Die zwei Objekte haben verschiedene Formen.", "Beide Objekte haben dieselbe Farbe."),
]


@pytest.mark.parametrize(("scene", "true", "false"), CLAIMS)
def test_a_claim_is_told_from_its_opposite(scene, true, false):
    assert is_true(true, scene)
    assert not is_true(false, scene)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " . ",
        "a",
        "a red",
        "red circle",
        "circle red a",
        "a red circle to the left of",
        "a red circle is",
        "a red circle and",
        "a red circle a",
        "a red blue circle",
        "two circle",
        "a circles",
        "the circle is red and",
        "there is",
        "the picture shows",
        "a red circle <unk>",
        "a red circle on a dark",
        "a crimson spaceship",
        "the circle are red",
        "a circle a square a star a circle a square a star a circle",
        "a circle left of " * 20,
        "on the left " * 15,
        "红色",
        "红色圆形",
        "一个红色",
        "一个红色圆形在",
        "图中有",
        "一个红色圆形和",
        "红色圆形在左边的",
        "一个红色汽车",
        "一个圆形在左边" * 15,
        "une étoile jaune",
        "a red circle 红色",
        "rot",
        "roter Kreis",
        "ein roter",
        "ein roter Kreis links von",
        "ein roter Kreis und",
        "man sieht",
        "ein roter blauer Kreis",
        "ein purpurner Kreis",
        "a roter Kreis",
    ],
)
def test_what_is_no_whole_sentence_is_false(text):
    assert not is_true(text, SCENE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ein roter Kreis", "ein rote Kreis"),
        ("ein roter Kreis", "eine roter Kreis"),
        ("ein roter Kreis", "ein rot Kreis"),
        ("eine rote Scheibe", "ein rote Scheibe"),
        ("der rote Kreis", "der roter Kreis"),
        ("man sieht einen roten Kreis", "man sieht ein roter Kreis"),
        ("ein Bild mit drei Formen", "ein Bild mit drei Form"),
        ("ein Kreis links von einem Quadrat", "ein Kreis links von ein Quadrat"),
        ("ein Kreis links von einem Quadrat", "ein Kreis links von einen Quadrat"),
        ("ein Kreis links vom Quadrat", "ein Kreis links vom Quadrate"),
        ("der Kreis ist rot", "der Kreis ist roter"),
        ("der Kreis ist rot", "der Kreis sind rot"),
        ("alle drei Formen haben verschiedene Farben", "alle drei Formen hat verschiedene Farben"),
        ("ein Stern vor dunklem Hintergrund", "ein Stern vor dunkler Hintergrund"),
        ("der Hintergrund ist dunkel", "der Hintergrund ist dunkler"),
        ("das größte Objekt ist blau", "der größte Objekt ist blau"),
    ],
)
def test_german_words_agree(right, wrong):
    assert is_true(right, SCENE)
    assert not is_true(wrong, SCENE)


@pytest.mark.parametrize(
    "text",
    ["A RED CIRCLE", "a red circle .", "  a red\tcircle\n", "a circle a square and a yellow star"],
)
def test_case_spaces_and_punctuation_change_nothing(text):
    assert is_true(text, SCENE)


def test_sentences_that_the_grammar_never_makes_are_judged_too():
    assert is_true(
        "a big striped blue box that is below a tiny star and to the right of a disk", SCENE
    )
    assert not is_true("a big striped blue box that is below a tiny star and above a disk", SCENE)
    assert is_true("you can see a star over a square next to a circle", SCENE)


def test_noun_phrases_with_a_stand_for_different_objects():
    assert is_true("a heart and a heart", ROW)
    assert not is_true("a circle and a circle", SCENE)
    assert not is_true("a star and a yellow star", SCENE)
    assert not is_true("three shapes and a star", SCENE)
    assert not is_true("a star, a circle, a square and an object", SCENE)


def test_of_two_objects_on_a_diagonal_both_relations_hold_and_neither_is_stated():
    slanted = Scene((thing("red", "circle", 0.3, 0.3), thing("blue", "square", 0.66, 0.7)), DARK)
    assert is_true("A circle is left of a square.", slanted)
    assert is_true("A circle is above a square.", slanted)
    said = " ".join(text for seed in range(60) for text in captions(slanted, Random(seed)))
    assert not re.search(r"above|below|(left|right) of (a|the) (?!picture)", said)


SWAPS = {
    "en": [
        [("left", "right")],
        [("above", "below"), ("over", "under"), ("higher", "lower")],
        [("top", "bottom"), ("upper", "lower")],
        [("largest", "smallest"), ("larger", "smaller")],
        [("light", "dark")],
        [("two", "three"), ("three", "four"), ("four", "two")],
    ],
    "de": [
        [("links", "rechts"), ("linken", "rechten")],
        [("über", "unter"), ("oberhalb", "unterhalb"), ("darüber", "darunter")],
        [("oben", "unten"), ("oberen", "unteren")],
        [("größte", "kleinste"), ("größten", "kleinsten"), ("größer als", "kleiner als")],
        [("heller", "dunkler"), ("hellen", "dunklen"), ("hellem", "dunklem"), ("hell", "dunkel")],
        [("zwei", "drei"), ("drei", "vier"), ("vier", "zwei")],
    ],
    "zh": [
        [("左", "右")],
        [("上方", "下方"), ("上边", "下边"), ("顶", "底")],
        [("最大", "最小"), ("更大", "更小")],
        [("浅", "深")],
        [("两", "三"), ("三", "四"), ("四", "两")],
    ],
}


def swapped(text, pairs, language):
    table = {a: b for pair in pairs for a, b in (pair[::-1], pair)}
    words = "|".join(sorted(table, key=len, reverse=True))
    pattern = f"({words})" if language == "zh" else rf"\b({words})\b"
    return re.sub(pattern, lambda match: table[match[0]], text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_swapped_word_makes_a_caption_false(language):
    # all objects differ in shape and in color, so that no other object can save the claim
    rng, swaps = Random(21), 0
    for _ in range(1200):
        scene = sample_scene(rng)
        distinct = all(
            len({getattr(t, a) for t in scene.objects}) == len(scene.objects)
            for a in ("shape", "color")
        )
        if not distinct:
            continue
        for text in captions(scene, rng, 5, language):
            for pairs in SWAPS[language]:
                text = text.lower() if language == "de" else text
                other = swapped(text, pairs, language)
                if other != text:
                    swaps += 1
                    assert not is_true(other, scene), (text, other, scene)
    assert swaps > 800


# for each of COLORS what takes the place of a color in a caption, endings staying
ABSENT = {
    "de": "rot orangefarben gelb grün blau violett pinkfarben weiß schwarz",
    "en": " ".join(COLORS),
    "zh": "红 橙 黄 绿 蓝 紫 粉 白 黑",
}
COLOR_NAMES = {
    "de": "knallrot|rot|orange(farben)?|gelb|grün|blau|violett|pinkfarben|pink|weiß|schwarz",
    "en": "|".join([*COLORS, "violet", "scarlet"]),
    "zh": "[红橙橘黄绿蓝紫粉白黑]",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_color_that_is_not_there_makes_a_caption_false(language):
    rng, swaps = Random(22), 0
    for _ in range(400):
        scene = sample_scene(rng)
        there = {thing.color for thing in scene.objects} | {scene.background.color}
        absent = next(color for color in COLORS if color not in there)
        word = dict(zip(COLORS, ABSENT[language].split(), strict=True))[absent]
        for text in captions(scene, rng, 5, language):
            if re.search("meadow|grass|sky|草|蓝天|wiese|gras|himmel|rasen", text.lower()):
                continue
            other = re.sub(COLOR_NAMES[language], word, text.lower())
            if other != text.lower():
                swaps += 1
                assert not is_true(other, scene), (text, other, scene)
    assert swaps > 500
