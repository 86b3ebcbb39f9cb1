"""English as it is read: words and rules.

`a`/`an` and `there is`/`there are` are interchangeable, because they change nothing that is claimed.
"""

from __future__ import annotations

from captionlab.shapes.parse.parser import Parser
from captionlab.shapes.parse.semantics import Mentions

LEXICON = """
a some: a | an | another
the -: the
one exactly 1: one | a single | exactly one | only one | just one
n exactly 2: two | exactly two | only two | a pair of
n exactly 3: three | exactly three | only three
n exactly 4: four | exactly four | only four
n exactly 2: the two
n exactly 3: the three
n exactly 4: the four
all all: all | all the | all of the
each all: every | each
all all 2: both | both of the | both the | all two
all all 3: all three | all of the three | all the three
all all 4: all four | all of the four | all the four
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
rel_it left: (to/on/at) its left
rel_it right: (to/on/at) its right
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
place left: (at the left/on the left/near the left/on the left side) (/of the picture/of the image/of the drawing/of the scene)
place right: (at the right/on the right/near the right/on the right side) (/of the picture/of the image/of the drawing/of the scene)
place top: (at the top/on the top/near the top/in the upper half) (/of the picture/of the image/of the drawing/of the scene)
place bottom: (at the bottom/on the bottom/near the bottom/in the lower half) (/of the picture/of the image/of the drawing/of the scene)
place center: (in/at) the (center/middle) (/of the picture/of the image/of the drawing/of the scene)
place top left: (in the (top/upper) left corner/at the (top/upper) left corner/at the (top/upper) left) (/of the picture/of the image/of the drawing/of the scene)
place top right: (in the (top/upper) right corner/at the (top/upper) right corner/at the (top/upper) right) (/of the picture/of the image/of the drawing/of the scene)
place bottom left: (in the (bottom/lower) left corner/at the (bottom/lower) left corner/at the (bottom/lower) left) (/of the picture/of the image/of the drawing/of the scene)
place bottom right: (in the (bottom/lower) right corner/at the (bottom/lower) right corner/at the (bottom/lower) right) (/of the picture/of the image/of the drawing/of the scene)
exist -: there is | there are | we see | we can see | you see | you can see | one can see
exist -: (the/this/a/an) (picture/image/drawing/scene) (shows/contains/depicts/of)
skip -: in the picture | in the image | in this picture | in this image | in the drawing
is one: is
is many: are
stands one: sits | stands | lies | hangs | floats | fits | is placed | is located | is drawn
stands one: is shown
stands many: sit | stand | lie | hang | float | are placed | are located | are drawn | are shown
seen -: can be seen
of_all -: of all
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

RULES = """
sentence
    clause [skip] rest -> clause + rest
# "a star is on the left and a ring" says nothing of the ring: not a sentence
rest
    end -> ()
    [and] clause {not only_exist(clause)} [skip] rest -> clause + rest
clause
    exist/skip meadow_clause -> background("meadow")
    exist/skip phrases -> phrases.claims
    the ground is=one shades:tone/color+ -> background(*shades)
    where [exist/is/stands] phrases -> phrases.claims + where(phrases.mentions)
    phrases remark(phrases.mentions) -> phrases.claims + remark
remark(subject)
    -> ()
    predicate(subject, number(subject))

# "a small circle with stripes on the left that is below a star", "two rings and a star"
phrases
    phrase others -> join(phrase, others)
# commas are gone, so "and" is optional
others
    -> NOTHING
    [and] phrases
phrase
    noun modifiers(noun) -> introduce(noun, modifiers)
noun
    quantity:a/one/each singular -> mention(quantity, singular)
    quantity:n/all plural -> mention(quantity, plural)
    the singular -> mention("the", singular)
    the plural -> mention("all", plural)
singular
    adjectives:extreme&size&color&texture shape restricted(adjectives, shape)
plural
    adjectives:extreme&size&color&texture shapes restricted(adjectives, shapes)
restricted(adjectives, shape)
    [with_texture] {not (with_texture and "texture" in adjectives)} place? -> describe(adjectives, shape, texture=with_texture, place=place)
modifiers(noun)
    -> ()
    modifier(noun) modifiers(noun) -> modifier + modifiers
modifier(noun)
    of_different -> different((noun,), of_different)
    that verb:is {verb == number((noun,))} complements((noun,), verb)
    with phrase relation -> phrase.claims + (Claim(relation, (*phrase.mentions, noun)),)
    position -> position((noun,))
relation
    rel_it
    rel=inside
# where something is; its subject may come later
where
    position
    relation:than/verb phrases -> related(relation, phrases)
position
    place -> at(place)
    rel phrases -> related(rel, phrases)
    between phrases -> between(phrases)
    meadow -> behind("meadow")
    before a/the shades:tone/color+ ground -> behind(*shades)

# what is claimed of a subject after it: "is red", "sits below a star", "have stripes"
predicate(subject, number)
    what:same -> same(subject, what)
    what:different -> different(subject, what)
    has_texture {number == "one"} -> be(subject, describe({}, texture=has_texture))
    seen -> ()
    relation:verb {number == "one"} phrases -> related(relation, phrases)(subject)
    verb:is/stands {verb == number} complements(subject, number)
complements(subject, number)
    complement(subject, number) conjoined(subject, number) -> complement + conjoined
conjoined(subject, number)
    -> ()
    and complements(subject, number)
complement(subject, number)
    position -> position(subject)
    relation:than phrases -> related(relation, phrases)(subject)
    {number == "one"} a adjectives:size&color&texture shape -> be(subject, describe(adjectives, shape))
    {number == "many"} adjectives:size&color&texture shapes -> be(subject, describe(adjectives, shapes))
    adjectives:size&color&texture {adjectives} -> be(subject, describe(adjectives))
    the which:extreme [shape=-] total -> extreme(subject, which) + total
# "the largest of the three shapes"
total
    -> ()
    of_all [shapes=-] -> (Claim("total", value=of_all),) if of_all else ()
"""


def number(subject: Mentions) -> str:
    """Return the number of the verb that agrees with a subject."""
    first = subject[0]
    several = len(subject) > 1 or first.quantity not in ("some", "the")
    return "many" if several and first.count != 1 else "one"


PARSER = Parser(
    LEXICON,
    RULES,
    longest=48,
    punctuation="[.,:;!?\"'()]",
    names={"number": number},
)
