"""German sentences: words, their declension and sentence patterns.

Noun phrases are made of lemmas, "ein klein rot Kreis"; where they stand in a sentence, a form
declines them: `{a.dative}`. Determiners and adjectives agree with the next lemma that is a noun.
"""

from __future__ import annotations

import re
from functools import partial

from captionlab.shapes.write.grammar import Grammar, Sentence

_TABLE = """
circle: Kreis 9 | Scheibe 1
square: Quadrat 9 | Viereck 1
triangle: Dreieck
star: Stern
cross: Kreuz 9 | Pluszeichen 1
heart: Herz
diamond: Raute 9 | Rhombus 1
ring: Ring
generic: Objekt 5 | Form 4 | Figur 3 | Ding 0.5 | Gegenstand 0.5
generic besides shape: Objekt 6 | Figur 3 | Ding 0.5
red: rot 19 | knallrot 1
orange: orangefarben
pink: rosa 7 | pinkfarben 3
purple, is purple: lila 5 | violett 5
is red: rot
is orange: orange
is pink: rosa 7 | pink 3
yellow, is yellow: gelb
green, is green: grün
blue, is blue: blau
white, is white: weiß
black, is black: schwarz
gray: grau
beige: beige
brown: braun
small, is small: klein 8 | winzig 1
medium: mittelgroß
large, is large: groß 8 | riesig 1
solid: einfarbig
striped, is striped: gestreift
dotted, is dotted: gepunktet 8 | getupft 1
checkered, is checkered: kariert
with striped: mit Streifen 3 | mit Streifenmuster 1
with dotted: mit Punkten 4 | mit Tupfen 1 | mit Punktmuster 1
with checkered: mit Karos 3 | mit Karomuster 2
has striped: Streifen 3 | ein Streifenmuster 1
has dotted: Punkte 4 | Tupfen 1 | ein Punktmuster 1
has checkered: Karos 3 | ein Karomuster 2
rel left: links von 6 | links neben 3 | auf der linken Seite von 0.4
rel right: rechts von 6 | rechts neben 3 | auf der rechten Seite von 0.4
rel above: über 7 | oberhalb von 2
rel below: unter 6 | unterhalb von 3
rel beside: neben 5 | direkt neben 1
rel inside: in 5 | mitten in 1
it left: rechts daneben 3 | rechts davon 2
it right: links daneben 3 | links davon 2
it above: darunter
it below: darüber
it beside: daneben 3 | direkt daneben 1
at left: links 4 | links im Bild 2 | auf der linken Seite 3 | am linken Rand 1
at right: rechts 4 | rechts im Bild 2 | auf der rechten Seite 3 | am rechten Rand 1
at top: oben 4 | oben im Bild 2 | am oberen Rand 1 | in der oberen Hälfte 1
at bottom: unten 4 | unten im Bild 2 | am unteren Rand 1 | in der unteren Hälfte 1
at center: in der Mitte 5 | in der Bildmitte 2 | im Zentrum 1 | mitten im Bild 1
at top left: oben links 4 | links oben 2 | in der oberen linken Ecke 3 | in der linken oberen Ecke 2
at top right: oben rechts 4 | rechts oben 2 | in der oberen rechten Ecke 3 | in der rechten oberen Ecke 2
at bottom left: unten links 4 | links unten 2 | in der unteren linken Ecke 3 | in der linken unteren Ecke 2
at bottom right: unten rechts 4 | rechts unten 2 | in der unteren rechten Ecke 3 | in der rechten unteren Ecke 2
stands: befindet sich 3 | liegt 3 | steht 1 | sitzt 1
stands above: befindet sich 2 | schwebt 2 | steht 1 | liegt 1
stands left, stands right, stands below, stands beside: befindet sich 3 | liegt 3 | steht 2
stands inside: befindet sich 3 | liegt 3 | sitzt 1
see there: es gibt 3 | man sieht 4 | wir sehen 1
see: es gibt 3 | man sieht 4 | wir sehen 1 | hier sieht man 1 | auf dem Bild sieht man 2 | auf dem Bild gibt es 1
exists: zu sehen ist 3 | hier ist 1 | auf dem Bild ist 2
exist: zu sehen sind 3 | hier sind 1 | auf dem Bild sind 2
show: das Bild zeigt 4 | dieses Bild zeigt 2 | die Zeichnung zeigt 2 | das Bild enthält 1 | die Szene enthält 0.5
picture of: ein Bild mit 3 | ein Bild von 1 | eine Zeichnung mit 1
largest: größt
smallest: kleinst
most largest: am größten
most smallest: am kleinsten
larger: größer
smaller: kleiner
surrounded: umgeben 3 | umschlossen 1
surrounds: umgibt 2 | umschließt 2 | enthält 1
light: hell
dark: dunkel
shade light: hell
shade dark: dunkel
before: vor 4 | auf 3
meadow: vor einer Wiese 3 | auf einer grünen Wiese 2 | auf einer Wiese 3 | unter blauem Himmel 2 | vor grünem Gras 1 | vor Gras und Himmel 2 | auf einem Rasen 0.6
meadow behind: im Hintergrund ist eine Wiese 2 | im Hintergrund sieht man eine Wiese 1 | im Hintergrund liegt eine Wiese 1
number 2: zwei
number 3: drei
number 4: vier
comma: ", "
and, and others: " und "
the same color: dieselbe Farbe 2 | die gleiche Farbe 2
the same shape: dieselbe Form 2 | die gleiche Form 2
the same texture: dasselbe Muster 2 | das gleiche Muster 2
differing: verschiedene 5 | unterschiedliche 4
colors color: Farben
colors shape: Formen

sentence
    text = {$kind}
    ? ground and not kind=background: {text.finish} {behind}.
    {text.finish}.

# noun phrases in lemmas: "der klein gestreift rot Kreis", "zwei Kreis mit Streifen"
phrase
    words = {bare}
    ? not many and definite: der {words}
    ? not many: ein {words}
    {number $count} {words}
bare
    head = {noun}
    hue = {hue of it}
    core = {textured}
    ? size: {$size} {core}
    {core}
noun
    ? shape: {$shape}
    {generic}
hue of it
    ? color: "{$color} "
    ""
textured
    ? not texture: {hue}{head}
    ? not texture=solid and .25: {hue}{head} {with $texture}
    ? not texture=solid and .35: {hue}{$texture} {head}
    {$texture} {hue}{head}

# what is there; nothing may stand behind "zu sehen", so it comes first
framed
    ? long and .55: {text.nominative}
    ? .3: {text.nominative}
    ? .65: {see} {text.accusative}
    ? .8 and plural: {exist} {text.nominative}
    ? .8: {exists} {text.nominative}
    ? .95: {show} {text.accusative}
    {picture of} {text.dative}
listing
    text = {nouns}
    {framed}
counted
    text = {0}
    {framed}
total
    text = {total of all}
    ? .25 and not ground and plural: auf dem Bild sind {text.nominative} zu sehen
    ? .25 and not ground: auf dem Bild ist {text.nominative} zu sehen
    {framed}
total of all
    words = {bare}
    ? not many and .5: nur ein {words}
    ? not many: ein {words}
    ? .15: genau {number $count} {words}
    {number $count} {words}

# where it is
placed
    a = {0}
    here = {at $place}
    ? .3 or definite: {a.nominative} {is placed} {here}
    ? .6: {a.nominative} {here}
    ? .7: {see there} {a.accusative} {here}
    ? .8: {here} sieht man {a.accusative}
    {here} {is placed} {a.nominative}
is placed
    ? .6: ist
    {stands}
located
    {at $place}
placed pair
    a = {0}
    here = {0.located}
    b = {1}
    there = {1.located}
    ? .25: {a.nominative} {here} und {b.nominative} {there}
    ? .45: {a.nominative} {is placed} {here} und {b.nominative} {there}
    ? .55: {a.nominative} ist {here}, während {b.nominative} {there} ist
    ? .65: {see there} {a.accusative} {here} und {b.accusative} {there}
    ? .85: {here} {is placed} {a.nominative} und {there} {b.nominative}
    {here} ist {a.nominative}, {there} ist {b.nominative}
relation
    a = {0}
    b = {1}
    ? value=inside and .35: {around}
    {related}
around
    ? .3 and not ground: {a.nominative} ist von {b.dative} {surrounded}
    ? .7: {b.nominative} {surrounds} {a.accusative}
    ? .85: {b.nominative} um {a.accusative}
    {b.nominative} mit {a.dative} darin
related
    rel = {rel $value}
    ? .34 or definite: {a.nominative} {is related} {rel} {b.dative}
    ? .64: {a.nominative} {rel} {b.dative}
    ? .76: {see there} {a.accusative} {rel} {b.dative}
    ? .92 or value=inside: {rel} {b.dative} {is related} {a.nominative}
    {a.nominative} mit {b.dative} {it $value}
is related
    ? .5: ist
    {stands $value}
between
    a = {0}
    ends = {others}
    here = zwischen {ends.dative}
    ? .4 or definite: {a.nominative} {is placed} {here}
    ? .65: {a.nominative} {here}
    ? .8: {see there} {a.accusative} {here}
    {here} {is placed} {a.nominative}

# what it is like
extreme
    best = {the best}
    ? not shape: {best.nominative} ist {is $color}
    a = {0}
    ? definite and .3: {a.nominative} ist {most $value}
    ? definite and .5: {a.nominative} ist {best.nominative}
    {best.nominative} ist {a.nominative}
the best
    der {$value} {generic}
compare
    a = {0}
    b = {1}
    {a.nominative} ist {$value} als {b.nominative}
all
    thing = {all things}
    ? count=2: beide {thing}
    ? .4: alle {number $count} {thing}
    ? .5: der {number $count} {thing}
    alle {thing}
all things
    ? kind=same and value=shape: {generic besides shape}
    {generic}
alike
    a = {all}
    ? value=shape: {a.nominative} sind {$shape.plural}
    {a.nominative} sind {is $attribute}
same
    a = {all}
    {a.nominative} haben {the same $value}
different
    a = {number $count} {generic besides shape}
    ? .3: {a.nominative} in {differing}n {colors $value}
    ? .6: {see} {a.accusative} in {differing}n {colors $value}
    b = der {a}
    {b.nominative} haben {differing} {colors $value}
property
    a = {0}
    ? value=texture and not texture=solid and .3: {a.nominative} hat {has $texture}
    {a.nominative} ist {is $attribute}

# what is behind it
background
    ? pattern=meadow: {meadow behind}
    ? pattern=grainy: der Hintergrund ist körnig und {shade}
    ? .8: der Hintergrund ist {shade}
    die Wand ist {shade}
behind
    ? pattern=meadow: {meadow}
    strong = - {backdrop} Hintergrund
    mixed = ein {backdrop} Hintergrund
    wall = ein {backdrop} Wand
    ? .35: {before} {strong.dative}
    ? .85: {before} {mixed.dative}
    vor {wall.dative}
backdrop
    ? pattern=grainy: körnig {shade}
    {shade}
shade
    ? tone and tint: {shade $tone}{$ground}
    ? tone: {$tone}
    {$ground}
"""

# gender, plural, dative plural, and the dative where it differs from the lemma
_NOUNS = """
Kreis m Kreise Kreisen
Scheibe f Scheiben Scheiben
Quadrat n Quadrate Quadraten
Viereck n Vierecke Vierecken
Dreieck n Dreiecke Dreiecken
Stern m Sterne Sternen
Kreuz n Kreuze Kreuzen
Pluszeichen n Pluszeichen Pluszeichen
Herz n Herzen Herzen Herzen
Raute f Rauten Rauten
Rhombus m Rhomben Rhomben
Ring m Ringe Ringen
Objekt n Objekte Objekten
Form f Formen Formen
Figur f Figuren Figuren
Ding n Dinge Dingen
Gegenstand m Gegenstände Gegenständen
Hintergrund m Hintergründe Hintergründen
Wand f Wände Wänden
"""
# determiners, and endings of the adjectives after them: masculine, feminine, neuter, plural
_DECLENSION = """
nominative der: der die das die
accusative der: den die das die
dative der: dem der dem den
nominative ein: ein eine ein
accusative ein: einen eine ein
dative ein: einem einer einem
nominative weak: e e e en
accusative weak: en e e en
dative weak: en en en en
nominative mixed: er e es
accusative mixed: en e es
dative mixed: en en en
nominative strong: er e es e
accusative strong: en e es e
dative strong: em er em en
"""
_AFTER = {"der": "weak", "alle": "weak", "beide": "weak", "ein": "mixed"}
_NUMBERS = ("zwei", "drei", "vier")
_DETERMINERS = (*_AFTER, *_NUMBERS, "-")
_INVARIABLE = ("lila", "rosa")

_nouns = {lemma: forms for lemma, *forms in map(str.split, _NOUNS.strip().splitlines())}
_declension = {
    key: dict(zip("mfnp", forms.split(), strict=False))
    for key, forms in (line.split(": ") for line in _DECLENSION.strip().splitlines())
}


def _decline(text: str, case: str) -> str:
    """Return a text with its noun phrases in a case; whatever stands between them stays."""
    done: list[str] = []
    phrase: list[str] = []
    for piece in re.findall(r"[^ ,]+|[ ,]+", text):
        if (phrase and piece != " ") or piece in _DETERMINERS:
            phrase.append(piece)
            if piece in _nouns:
                done.append(_declined(phrase, case))
                phrase = []
        elif not phrase:
            done.append(piece)
    return "".join(done)


def _declined(phrase: list[str], case: str) -> str:
    """Return one noun phrase in a case: determiners, adjectives, and a noun last."""
    *words, noun = phrase
    gender, plural, dative_plural, *dative = _nouns[noun]
    first = words[0]
    if (len(words) > 1 and words[1] in _NUMBERS) or first not in ("der", "ein", "-"):
        gender, noun = "p", dative_plural if case == "dative" else plural
    elif case == "dative" and dative:
        noun = dative[0]
    endings = _declension[f"{case} {_AFTER.get(first, 'strong')}"]
    done = [
        _determiner(word, case, gender)
        if word in _DETERMINERS
        else _adjective(word, endings[gender])
        for word in words
    ]
    return " ".join([*filter(None, done), noun])


def _determiner(word: str, case: str, gender: str) -> str:
    if word in ("der", "ein"):
        return _declension[f"{case} {word}"][gender]
    if word in ("alle", "beide") and case == "dative":
        return f"{word}n"
    return "" if word == "-" else word


def _adjective(word: str, ending: str) -> str:
    if word in _INVARIABLE:
        return word
    stem = "dunkl" if word == "dunkel" else word.removesuffix("e")
    return stem + ending


def _finish(text: str) -> str:
    """Return a sentence with a capital letter and "vom" and "im" for "von dem" and "in dem"."""
    text = re.sub(r"\b(vo|i)n dem ", r"\1m ", text)
    return f"{text[0].upper()}{text[1:]}"


def _plural(s: Sentence) -> bool:
    """Return whether the verb is in the plural."""
    return len(s.message.nouns) > 1 or len(s.noun.objects) > 1


GRAMMAR = Grammar(
    _TABLE,
    longest=16,
    forms={
        **{case: partial(_decline, case=case) for case in ("nominative", "accusative", "dative")},
        "plural": lambda noun: _nouns[noun][1],
        "finish": _finish,
    },
    conditions={
        "plural": _plural,
        # a picture is seldom described in three words
        "long": lambda s: s.made["text"].count(" ") > 3,
    },
)
