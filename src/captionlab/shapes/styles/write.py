"""How the styles are written: English tables with words and patterns of their own.

A rule of a style stands behind the English table and takes the place of the rule of its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from captionlab.shapes.plan import Message, plan
from captionlab.shapes.scene import Scene
from captionlab.shapes.styles import LONGEST
from captionlab.shapes.styles.paragraph import paragraph
from captionlab.shapes.write.en import CONDITIONS, FORMS, TABLE
from captionlab.shapes.write.grammar import Grammar

# no article, no verb: what would stand on a label
_TERSE = """
spot top left: top left
spot top right: top right
spot bottom left: bottom left
spot bottom right: bottom right
spot center: center
spot left: left
spot right: right
spot top: top
spot bottom: bottom
terse left: left of
terse right: right of
terse above: above 4 | over 1
terse below: below 4 | under 1
terse beside: beside
terse inside: inside 3 | in 1

sentence
    text = {$kind}
    ? ground and not kind=background and pattern=meadow: {text} on meadow
    ? ground and not kind=background: {text} on {backdrop}
    {text}
phrase
    words = {bare}
    ? many: {number $count} {words}
    {words}
textured
    ? not texture: {hue}{head}
    {$texture} {hue}{head}
listing
    {nouns}
counted
    {0}
total
    words = {bare}
    {number $count} {words}
relation
    {0} {terse $value} {1}
between
    ends = {others}
    {0} between {ends}
placed
    {0} {spot $place}
background
    ? pattern=meadow: meadow background
    {backdrop} background
"""

# the same facts behind an opening or with a verb of its own, and before a flourish
_ORNATE = """
grand small: dainty 2 | delicate 2 | diminutive 1
grand medium: modest 2 | well-proportioned 1
grand large: majestic 2 | mighty 2 | colossal 1
vivid red: crimson | radiant red
vivid orange: amber | radiant orange
vivid yellow: golden | radiant yellow
vivid green: emerald | verdant green
vivid blue: azure | sapphire blue
vivid purple: amethyst | regal purple
vivid pink: rosy | blushing pink
vivid white: ivory | snowy white
vivid black: ebony | midnight black
woven striped: elegantly striped
woven dotted: playfully dotted
woven checkered: finely checkered
woven solid: flawlessly plain
behold: lo and behold, 3 | behold in wonder 2 | here the eye beholds 2 | admire with awe 1
reposes: reposes 3 | gracefully rests 2 | serenely dwells 2
flourish: in serene splendor 3 | in perfect harmony 2 | with timeless grace 2 | like a cherished dream 1
scenery: against a tranquil {backdrop} expanse 2 | before a hushed {backdrop} canvas 2
scenery meadow: amid a verdant meadow 2 | beneath a boundless blue sky 1

sentence
    text = {$kind}
    ? ground: {text.capital} {vista} {flourish}.
    {text.capital} {flourish}.
vista
    ? pattern=meadow: {scenery meadow}
    {scenery}
bare
    head = {noun}
    hue = {hue of it}
    core = {textured}
    ? size: {grand $size} {core}
    {core}
hue of it
    ? color: "{vivid $color} "
    ""
textured
    ? not texture: {hue}{head}
    {woven $texture} {hue}{head}
listing
    {behold} {nouns}
counted
    {behold} {0}
relation
    {0} {reposes} {rel $value} {1}
between
    ends = {others}
    {0} {reposes} between {ends}
placed
    {0} {reposes} {at $place}
placed pair
    a = {0}
    here = {0.located}
    b = {1}
    there = {1.located}
    {a} {reposes} {here} while {b} {reposes} {there}
"""

# every sentence begins with words that no other place of a paragraph has
_PARAGRAPH = """
pictured: this picture shows 4 | this image shows 3 | this drawing shows 1
begun: there is 5 | we can see 2
further: also, 3 | moreover, 2 | furthermore, 1 | in addition, 1

sentence
    text = {$kind}
    {text.capital}.
opening
    things = {bare}
    {pictured} {counted things} {behind}
counted things
    ? many: exactly {number $count} {things}
    only one {things}
object
    thing = {bare}
    ? somewhere: {begun} {thing.article} {at $place}
    {begun} {thing.article}
relation
    rel = {rel $value}
    {further} {0} {is related} {rel} {1}
"""

_SAID = {  # the kinds of messages that a style has words for
    "terse": ("listing", "counted", "total", "relation", "between", "placed", "background"),
    "ornate": ("listing", "counted", "relation", "between", "placed", "placed pair"),
}
_GRAMMARS = {
    style: Grammar(
        TABLE + table,
        longest=LONGEST[style],
        forms=FORMS,
        conditions={**CONDITIONS, "somewhere": lambda s: s.noun.place != ""},
    )
    for style, table in (("terse", _TERSE), ("ornate", _ORNATE), ("paragraph", _PARAGRAPH))
}


def write(style: str, scene: Scene, rng: Random) -> str:
    """Return a caption in one of the `STYLES`, of at most `LONGEST` words, that is true of the scene."""
    grammar = _GRAMMARS[style]
    while True:
        text = " ".join(grammar.write(message, rng) for message in _messages(style, scene, rng))
        if grammar.length(text) <= grammar.longest:
            return text


def _messages(style: str, scene: Scene, rng: Random) -> Sequence[Message]:
    if style == "paragraph":
        return paragraph(scene)
    while (message := plan(scene, rng)).kind not in _SAID[style]:
        pass
    return (message,)
