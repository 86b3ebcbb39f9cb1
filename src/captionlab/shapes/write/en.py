"""English sentences: words and sentence patterns."""

from __future__ import annotations

from captionlab.shapes.write.grammar import Grammar, Sentence, Test

TABLE = """
circle: circle 8 | disk 2
square: square 8 | box 2
triangle: triangle
star: star
cross: cross 8 | plus sign 2
heart: heart
diamond: diamond 8 | rhombus 2
ring: ring 8 | hoop 2
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
backdrop behind: on a {backdrop} background 9 | against a {backdrop} background 3 | in front of a {backdrop} background 1
backdrop behind: on a {backdrop} backdrop 1 | in front of a {backdrop} wall 2 | against a {backdrop} wall 1 | on a {backdrop} wall 0.6
meadow: in front of a meadow 3 | on a green meadow 2 | in a meadow 1 | under a blue sky 2
meadow: in front of green grass 1 | in front of grass and sky 2 | in front of a lawn 0.6
light: light 7 | bright 2 | pale 1
dark: dark
with it left: to its right 3 | on its right 1
with it right: to its left 3 | on its left 1
with it above: below it 3 | under it 2 | beneath it 1
with it below: above it 4 | over it 1
with it beside: next to it 3 | beside it 1
number 1: one
number 2: two
number 3: three
number 4: four
comma: ", "
and, and others: " and "
generic: shape 6 | object 3 | figure 1 | thing 0.5 | item 0.5
generic besides shape: object 9 | figure 1 | thing 0.5 | item 0.5
share: have 3 | share 1
property color: color
property shape: shape
property texture: pattern
inside it: inside | inside it | in it
stands, stands left, stands right, stands below, stands beside: sits 2 | stands 1 | lies 1
stands, stands left, stands right, stands below, stands beside: is placed 1.5 | is located 0.6
stands, stands left, stands right, stands below, stands beside: is drawn 0.6
stands above: hangs 2 | floats 1 | sits 1 | is placed 1 | is shown 0.5
stands inside: sits 2 | lies 2 | is placed 1 | is drawn 1 | fits 0.5
exist many: there are 6 | we see 1 | you can see 1 | one can see 0.4

sentence
    text = {$kind}
    ? ground and not kind=background: {text.capital} {behind}.
    {text.capital}.

# noun phrases: "the small striped red circle", "two circles with stripes"
phrase
    words = {bare}
    ? not many and definite: the {words}
    ? not many: {words.article}
    ? count=2 and .08: a pair of {words}
    {number $count} {words}
bare
    head = {noun}
    hue = {hue of it}
    core = {textured}
    ? size: {$size} {core}
    {core}
noun
    ? many and shape: {$shape.plural}
    ? many: {generic.plural}
    ? shape: {$shape}
    {generic}
hue of it
    ? color: "{$color} "
    ""
textured
    ? not texture: {hue}{head}
    ? not texture=solid and .25: {hue}{head} with {with $texture}
    {texture before}
texture before
    ? .6: {$texture} {hue}{head}
    {hue}{$texture} {head}

# what is there
framed
    ? long and .6: {text}
    ? .35: {text}
    ? .8 and agreeing: {exist many} {text}
    ? .8: {exist} {text}
    {show} {text}
listing
    text = {nouns}
    {framed}
counted
    text = {0}
    {framed}
total
    text = {total of all}
    ? .25 and many: there are {text}
    ? .25: there is {text}
    ? .4 and not ground: {text} can be seen in the picture
    {framed}
total of all
    words = {bare}
    ? many and .15: exactly {number $count} {words}
    {number $count} {words}

# where it is
placed
    a = {0}
    here = {at $place}
    ? .3 or definite: {a} {is placed} {here}
    ? .65: {a} {here}
    ? .85: {exist} {a} {here}
    {here} {exist} {a}
is placed
    ? .8: is
    {stands}
located
    {at $place}
placed pair
    a = {0}
    here = {0.located}
    b = {1}
    there = {1.located}
    ? .4: {a} {here} and {b} {there}
    ? .7: {a} is {here} {joined}
    ? .85: {exist} {a} {here} and {b} {there}
    {here} {exist} {a} and {there} {b}
joined
    ? .7: and {b} {perhaps is}{there}
    while {b} is {there}
perhaps is
    ? .3: "is "
    ""
relation
    a = {0}
    b = {1}
    ? value=inside and .35: {around}
    {related}
around
    ? .3: {a} is surrounded by {b}
    ? .5: {b} surrounds {a}
    ? .65: {b} contains {a}
    ? .8: {b} around {a}
    {b} with {a} {inside it}
related
    rel = {rel $value}
    ? .34 or definite: {a} {is related} {rel} {b}
    ? .68 or comparing: {a} {rel} {b}
    ? .84: {exist} {a} {rel} {b}
    ? .92 or value=inside: {rel} {b} {fronted} {a}
    {a} with {b} {with it $value}
is related
    ? .8 or comparing: is
    {stands $value}
between
    a = {0}
    ends = {others}
    here = {in between}
    ? .4 or definite: {a} is {here}
    ? .75: {a} {here}
    ? .9: {exist} {a} {here}
    {here} {is there} {a}
in between
    ? .1: in between {ends}
    between {ends}
is there
    ? .5: there is
    is

# what it is like
extreme
    word = {$value}
    thing = {generic}
    ? not shape: the {word} {thing} is {$color}
    ? definite and .5: {superlative}
    the {word} {thing} is {bare.article}
superlative: {0} is the {word} 1 | {0} is the {word} {thing} 3 | {0} is the {word} of all 1
compare
    a = {0}
    b = {1}
    {a} is {$value} than {b}
all
    thing = {all things}
    ? count=2: both {thing}
    ? .5: all {number $count} {thing}
    all {thing}
all things
    ? kind=same and value=shape: {generic besides shape.plural}
    {generic.plural}
alike
    a = {all}
    ? value=shape: {a} are {$shape.plural}
    {a} are {$attribute}
same
    a = {all}
    {a} {share} the same {property $value}
different
    things = {different things}
    a = {number $count} {things}
    ? .4: {a} of different {property $value}s
    ? .7: there are {a} of different {property $value}s
    the {a} have different {property $value}s
different things
    ? value=color: {generic.plural}
    objects
property
    a = {0}
    ? value=texture and not texture=solid and .3: {a} has {with $texture}
    {a} is {$attribute}

# what is behind it
background
    ? pattern=meadow: there is a meadow in the background
    {plain background}
plain background
    ? .8: the background is {backdrop}
    the wall is {backdrop}
behind
    ? pattern=meadow: {meadow}
    {backdrop behind}
backdrop
    ? pattern=grainy: grainy {shade}
    {shade}
shade
    ? tone and tint: {$tone} {$ground}
    ? tone: {$tone}
    {$ground}
"""
_PLURALS = {"box": "boxes", "cross": "crosses", "rhombus": "rhombuses"}


def _plural(noun: str) -> str:
    *before, last = noun.split(" ")
    return " ".join([*before, _PLURALS.get(last, f"{last}s")])


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _agreeing(s: Sentence) -> bool:
    """Return whether "there are" stands before the text; "a pair" is one."""
    return len(s.noun.objects) > 1 and not s.made["text"].startswith("a pair")


FORMS = {"plural": _plural, "article": _article, "capital": _capital}
CONDITIONS: dict[str, Test] = {
    "agreeing": _agreeing,
    # a picture is seldom described in three words
    "long": lambda s: s.made["text"].count(" ") > 3,
    "comparing": lambda s: " than" in s.made["rel"],
}
GRAMMAR = Grammar(TABLE, longest=16, forms=FORMS, conditions=CONDITIONS)
