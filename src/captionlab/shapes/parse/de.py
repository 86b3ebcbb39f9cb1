"""German as it is read: words and rules.

Unlike a and an in English, German endings are held to: a noun phrase is read where its determiner,
its adjectives and its noun agree in gender, number and case, and the case is the one asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from captionlab.shapes.parse.parser import Parser
from captionlab.shapes.parse.semantics import (
    Claims,
    Description,
    Mention,
    Mentions,
    be,
    introduce,
    mention,
)

# A slot is a case (nominative, accusative, dative) and a gender (masculine, feminine, neuter) or p,
# the plural: "dm" is dative masculine. Determiners: count, declension of what follows, slots.
_LEXICON = """
det some mixed nm nn an: ein
det some mixed nf af: eine
det some mixed am: einen
det some mixed dm dn: einem
det some mixed df: einer
det exactly.1 mixed nm nn an: (genau/nur) ein
det exactly.1 mixed nf af: (genau/nur) eine
det exactly.1 mixed am: (genau/nur) einen
det exactly.1 mixed dm dn: (genau/nur) einem
det exactly.1 mixed df: (genau/nur) einer
det exactly.2 strong np ap dp: (/genau/nur) zwei
det exactly.3 strong np ap dp: (/genau/nur) drei
det exactly.4 strong np ap dp: (/genau/nur) vier
det the weak nm df: der
det the weak nf af np ap: die
det the weak nn an: das
det the weak am dp: den
det the weak dm dn: dem
det exactly.2 weak np ap: die (zwei/beiden)
det exactly.3 weak np ap: die drei
det exactly.4 weak np ap: die vier
det exactly.2 weak dp: den (zwei/beiden)
det exactly.3 weak dp: den drei
det exactly.4 weak dp: den vier
det all weak np ap: alle
det all weak dp: allen
det all.2 weak np ap: beide | alle beide | alle zwei
det all.2 weak dp: beiden | allen zwei
det all.3 weak np ap: alle drei
det all.3 weak dp: allen drei
det all.4 weak np ap: alle vier
det all.4 weak dp: allen vier
shape circle nm am dm: Kreis
shape circle np ap: Kreise
shape circle dp: Kreisen
shape circle nf af df: Scheibe | Kreisscheibe
shape circle np ap dp: Scheiben | Kreisscheiben
shape square nn an dn: Quadrat | Viereck
shape square np ap: Quadrate | Vierecke
shape square dp: Quadraten | Vierecken
shape triangle nn an dn: Dreieck
shape triangle np ap: Dreiecke
shape triangle dp: Dreiecken
shape star nm am dm: Stern
shape star np ap: Sterne
shape star dp: Sternen
shape cross nn an dn: Kreuz
shape cross np ap: Kreuze
shape cross dp: Kreuzen
shape cross nn an dn np ap dp: Pluszeichen
shape heart nn an dn: Herz
shape heart dn np ap dp: Herzen
shape diamond nf af df: Raute
shape diamond np ap dp: Rauten
shape diamond nm am dm: Rhombus
shape diamond np ap dp: Rhomben
shape ring nm am dm: Ring | Reif
shape ring np ap: Ringe | Reife
shape ring dp: Ringen | Reifen
shape - nn an dn: Objekt | Ding
shape - np ap: Objekte | Dinge
shape - dp: Objekten | Dingen
shape - nf af df: Form | Figur
shape - np ap dp: Formen | Figuren
shape - nm am dm: Gegenstand
shape - np ap: Gegenstände
shape - dp: Gegenständen
with_texture striped: mit (Streifen/Streifenmuster/einem Streifenmuster)
with_texture dotted: mit (Punkten/Tupfen/Punktmuster/einem Punktmuster)
with_texture checkered: mit (Karos/Karomuster/einem Karomuster)
a_texture striped: Streifen | ein Streifenmuster
a_texture dotted: Punkte | Tupfen | ein Punktmuster
a_texture checkered: Karos | ein Karomuster
most largest: am größten
most smallest: am kleinsten
than larger: größer als
than smaller: kleiner als
rel left: links (von/neben) | auf der linken Seite von
rel right: rechts (von/neben) | auf der rechten Seite von
rel above: über | oberhalb von
rel below: unter | unterhalb von
rel beside: neben | direkt neben
rel inside: in | mitten in
rel_the left: links vom | auf der linken Seite vom
rel_the right: rechts vom | auf der rechten Seite vom
rel_the above: oberhalb vom
rel_the below: unterhalb vom
rel_the inside: im | mitten im
it left: links (daneben/davon)
it right: rechts (daneben/davon)
it above: darüber
it below: darunter
it beside: daneben | direkt daneben
it inside: darin
verb around: umgibt | umschließt | enthält
by -: von
by_the -: vom
surrounded -: umgeben | umschlossen
around around: um
between -: zwischen
kind color: dieselbe Farbe | die gleiche Farbe
kind shape: dieselbe Form | die gleiche Form
kind texture: dasselbe Muster | das gleiche Muster
kinds color: (verschiedene/unterschiedliche) Farben
kinds shape: (verschiedene/unterschiedliche) Formen
of_kinds color: in (verschiedenen/unterschiedlichen) Farben
of_kinds shape: in (verschiedenen/unterschiedlichen) Formen
place left: links (/im Bild) | auf der linken Seite | am linken Rand
place right: rechts (/im Bild) | auf der rechten Seite | am rechten Rand
place top: oben (/im Bild) | am oberen Rand | in der oberen Hälfte
place bottom: unten (/im Bild) | am unteren Rand | in der unteren Hälfte
place center: in der (Mitte/Bildmitte) | im Zentrum | mitten im Bild
place top left: oben links | links oben | in der (oberen linken/linken oberen) Ecke
place top right: oben rechts | rechts oben | in der (oberen rechten/rechten oberen) Ecke
place bottom left: unten links | links unten | in der (unteren linken/linken unteren) Ecke
place bottom right: unten rechts | rechts unten | in der (unteren rechten/rechten unteren) Ecke
see -: es gibt | man sieht | wir sehen
sees -: gibt es | sieht man | sehen wir
show -: (das Bild/dieses Bild/die Zeichnung/die Szene) (zeigt/enthält)
picture -: (ein Bild/eine Zeichnung) (mit/von)
here -: hier | auf dem Bild
visible -: zu sehen
is one: ist
is many: sind
stands one: befindet sich | liegt | steht | sitzt | schwebt
stands many: befinden sich | liegen | stehen | sitzen | schweben
has one: hat
has many: haben
and -: und
while -: während
with -: mit
of_all -: von allen
before -: vor | auf | an
ground ground nm am dm: Hintergrund
ground ground nf af df: Wand
meadow -: (vor/auf) einer (/grünen) Wiese | unter blauem Himmel | vor grünem Gras
meadow -: vor Gras und Himmel | auf einem Rasen
meadow_clause -: im Hintergrund (ist/liegt/sieht man) eine Wiese
"""

# as complements, then the stems that endings are added to where they differ (- where none are)
_ADJECTIVES = """
color red: rot | knallrot
color orange: orange orangefarben | orangefarben
color yellow: gelb
color green: grün
color blue: blau
color purple: violett | lila -
color pink: rosa - | pink pinkfarben
color white: weiß
color black: schwarz
color gray: grau
color beige: beige beig
color brown: braun
size small: klein | winzig
size medium: mittelgroß
size large: groß | riesig
texture striped: gestreift
texture dotted: gepunktet | getupft
texture checkered: kariert
texture solid: einfarbig
extreme largest: größt
extreme smallest: kleinst
tone light: hell
tone dark: dunkel dunkl
grain grainy: körnig
"""

_RULES = """
sentence
    clause rest -> clause + rest
rest
    end -> ()
    [and] clause {not only_exist(clause)} rest -> clause + rest
clause
    meadow_clause -> background("meadow")
    det ground {agree("n", det, (), ground)} is=one shades:grain&tone&color[and] {shades and uninflected(shades.values())} -> background(*grounds(shades))
    # es gibt einen Kreis, hier sieht man einen Kreis, ein Bild mit einem Kreis
    see/show phrases("a") -> phrases.claims
    here sees phrases("a") -> phrases.claims
    picture phrases("d") -> phrases.claims
    # zu sehen ist ein Kreis, auf dem Bild ist ein Kreis zu sehen
    visible verb:is phrases("n") {verb == number(phrases.mentions)} -> phrases.claims
    here verb:is phrases("n") {verb == number(phrases.mentions)} [visible] -> phrases.claims
    # links ist ein Kreis, rechts ein Stern, oben sieht man einen Ring
    where verb:[is/stands] phrases("n") {verb in ("", number(phrases.mentions))} -> phrases.claims + where(phrases.mentions)
    where sees phrases("a") -> phrases.claims + where(phrases.mentions)
    while phrases("n") where verb:is/stands {verb == number(phrases.mentions)} -> phrases.claims + where(phrases.mentions)
    phrases("n") remark(phrases.mentions) -> phrases.claims + remark
remark(subject)
    -> ()
    predicate(subject, number(subject))

# noun phrases in a case: ein kleiner roter Kreis mit Streifen links von einem Stern
phrases(case)
    phrase(case) others(case) -> join(phrase, others)
others(case)
    -> NOTHING
    [and] phrases(case)
phrase(case)
    det noun(case, det) modifiers(noun) -> introduce(noun, modifiers)
# im roten Ring, links vom Stern: the determiner is in the word before
contracted
    noun("d", "the weak dm dn") modifiers(noun) others("d") -> join(introduce(noun, modifiers), others)
noun(case, det)
    adjectives:extreme&size&color&texture shape {slot := agree(case, det, adjectives.values(), shape)} [with_texture] {not (with_texture and "texture" in adjectives)} place? -> named(det, slot, describe(lemmas(adjectives), lemma(shape), texture=with_texture, place=place))
modifiers(noun)
    -> ()
    modifier(noun) modifiers(noun) -> modifier + modifiers
modifier(noun)
    of_kinds -> different((noun,), of_kinds)
    with phrase("d") it -> phrase.claims + (Claim(it, (*phrase.mentions, noun)),)
    where -> where((noun,))

# where something is; its subject may come later
where
    place -> at(place)
    rel phrases("d") -> related(rel, phrases)
    rel_the contracted -> related(rel_the, contracted)
    around phrases("a") -> related(around, phrases)
    between phrases("d") -> between(phrases)
    meadow -> behind("meadow")
    before det shades:grain&tone&color {shades} ground {agree("d", det, shades.values(), ground)} -> behind(*grounds(shades))
    before shades:grain&tone&color {shades} ground {agree("d", "- strong dm df", shades.values(), ground)} -> behind(*grounds(shades))

# what is claimed of a subject after it
predicate(subject, number)
    verb:is/stands {verb == number} complements(subject, number)
    verb:has {verb == number} attribute(subject)
    relation:verb {number == "one"} phrases("a") -> related(relation, phrases)(subject)
attribute(subject)
    a_texture -> be(subject, describe({}, texture=a_texture))
    kind -> same(subject, kind)
    kinds -> different(subject, kinds)
complements(subject, number)
    complement(subject, number) conjoined(subject, number) -> complement + conjoined
conjoined(subject, number)
    -> ()
    and complements(subject, number)
complement(subject, number)
    visible -> ()
    where -> where(subject)
    by phrases("d") surrounded -> related("inside", phrases)(subject)
    by_the contracted surrounded -> related("inside", contracted)(subject)
    than phrases("n") -> related(than, phrases)(subject)
    most [of_all] -> extreme(subject, most)
    det which:extreme shape {lemma(shape) == "" and agree("n", det, (which,), shape)} [of_all] -> extreme(subject, lemma(which))
    # ist ein roter Kreis, ist der rote Kreis
    {number == "one"} det noun("n", det) {noun.quantity in ("some", "the") and not noun.description.extreme} -> identified(subject, noun)
    {number == "many"} adjectives:size&color&texture shape {agree("n", "- strong np", adjectives.values(), shape)} -> be(subject, describe(lemmas(adjectives), lemma(shape)))
    adjectives:size&color&texture {adjectives and uninflected(adjectives.values())} -> be(subject, describe(lemmas(adjectives)))
"""

# the ending of adjectives in each slot, by what stands before them
_ENDINGS = {
    "weak": "nm e nf e nn e np en am en af e an e ap en dm en df en dn en dp en",
    "mixed": "nm er nf e nn es am en af e an es dm en df en dn en",
    "strong": "nm er nf e nn es np e am en af e an es ap e dm em df er dn em dp en",
}
_UNINFLECTED = "0"

_endings = {
    kind: dict(zip(text.split()[::2], text.split()[1::2], strict=True))
    for kind, text in _ENDINGS.items()
}


def _inflected(table: str) -> str:
    """Return adjectives as lines of a lexicon; a value is a lemma and the endings it may have."""
    base: list[tuple[str, str, str, str]] = []
    for line in table.strip().splitlines():
        head, _, texts = line.partition(": ")
        category, lemma = head.split()
        for text in texts.split(" | "):
            complement, _, stem = text.partition(" ")
            base.append((category, lemma, complement, stem or complement))
    shades = [
        ("tone", f"{tone}+{color}", first + second, first + (second if stem == "-" else stem))
        for kind, tone, first, _ in base
        for category, color, second, stem in base
        if kind == "tone" and category == "color"
    ]
    endings: dict[tuple[str, str, str], list[str]] = {}
    for category, lemma, complement, stem in base + shades:
        endings.setdefault((category, lemma, complement), []).append(_UNINFLECTED)
        for ending in ("e", "er", "es", "en", "em"):
            form = complement if stem == "-" else stem + ending
            endings.setdefault((category, lemma, form), []).append(ending)
    return "\n".join(
        f"{category} {lemma} {' '.join(known)}: {form}"
        for (category, lemma, form), known in endings.items()
    )


def _lemma(value: str) -> str:
    return value.partition(" ")[0].strip("-")


def _lemmas(adjectives: Mapping[str, str]) -> dict[str, str]:
    return {category: _lemma(value) for category, value in adjectives.items()}


def _agree(case: str, det: str, adjectives: Iterable[str], noun: str) -> str:
    """Return the slot in which a noun phrase agrees, "" where there is none."""
    _, declension, *slots = det.split()
    fitting = noun.split()[1:]
    for slot in slots:
        if slot[0] == case and slot in fitting:
            ending = _endings[declension][slot]
            if all(ending in adjective.split()[1:] for adjective in adjectives):
                return slot
    return ""


def _uninflected(adjectives: Iterable[str]) -> bool:
    return all(_UNINFLECTED in adjective.split()[1:] for adjective in adjectives)


def _named(det: str, slot: str, description: Description) -> Mention:
    quantity = det.split()[0].replace(".", " ")
    return mention("all" if quantity == "the" and slot[1] == "p" else quantity, description)


def _grounds(shades: Mapping[str, str]) -> list[str]:
    return [word for shade in shades.values() for word in _lemma(shade).split("+")]


def _identified(subject: Mentions, noun: Mention) -> Claims:
    """Return what a noun as a complement claims: that it fits, and with "the" that it alone does."""
    only = introduce(noun).claims if noun.quantity == "the" else ()
    return only + be(subject, noun.description)


def _number(subject: Mentions) -> str:
    """Return the number of the verb that agrees with a subject."""
    first = subject[0]
    single = first.quantity in ("some", "the") or first.count == 1
    return "one" if single and len(subject) == 1 else "many"


PARSER = Parser(
    _LEXICON + _inflected(_ADJECTIVES),
    _RULES,
    longest=48,
    punctuation="[.,:;!?\"'()„“”]",
    names={
        "agree": _agree,
        "grounds": _grounds,
        "identified": _identified,
        "lemma": _lemma,
        "lemmas": _lemmas,
        "named": _named,
        "number": _number,
        "uninflected": _uninflected,
    },
)
