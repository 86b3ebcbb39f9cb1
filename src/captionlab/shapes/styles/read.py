"""How the styles are read: the English rules with words of their own, and what marks each style.

No word of the writing tables is known here but those that stand here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from captionlab.shapes.parse.en import LEXICON, PARSER, RULES, number
from captionlab.shapes.parse.parser import Parser
from captionlab.shapes.parse.semantics import Claims
from captionlab.shapes.styles import LONGEST

_TERSE_WORDS = """
place left: left
place right: right
place top: top
place bottom: bottom
place center: center
place top left: top left
place top right: top right
place bottom left: bottom left
place bottom right: bottom right
on -: on
grass -: meadow
rel left: left of
rel right: right of
"""
# a noun phrase without article names any such object
_TERSE_RULES = """
sentence
    fragment backdrop end -> fragment + backdrop
    shades:tone/color+ ground end -> background(*shades)
    grass ground end -> background("meadow")
fragment
    phrases remark(phrases.mentions) -> phrases.claims + remark
remark(subject)
    -> ()
    place -> at(place)(subject)
    rel phrases -> related(rel, phrases)(subject)
    between phrases -> between(phrases)(subject)
backdrop
    -> ()
    on shades:tone/color+ -> background(*shades)
    on grass -> background("meadow")
phrases
    phrase others -> join(phrase, others)
others
    -> NOTHING
    [and] phrases
phrase
    noun -> introduce(noun)
noun
    quantity:n plural -> mention(quantity, plural)
    quantity:one singular -> mention(quantity, singular)
    singular -> mention("some", singular)
singular
    adjectives:size&color&texture shape -> describe(adjectives, shape)
plural
    adjectives:size&color&texture shapes -> describe(adjectives, shapes)
"""

_OPENINGS = ("lo and behold", "behold in wonder", "here the eye beholds", "admire with awe")
_VERBS = ("reposes", "gracefully rests", "serenely dwells")
_FLOURISHES = (
    "in serene splendor",
    "in perfect harmony",
    "with timeless grace",
    "like a cherished dream",
)
_ORNATE_WORDS = f"""
exist -: {" | ".join(_OPENINGS)}
stands one: {" | ".join(_VERBS)}
skip -: {" | ".join(_FLOURISHES)}
size small: dainty | delicate | diminutive
size medium: modest | well-proportioned
size large: majestic | mighty | colossal
color red: crimson | radiant red
color orange: amber | radiant orange
color yellow: golden | radiant yellow
color green: emerald | verdant green
color blue: azure | sapphire blue
color purple: amethyst | regal purple
color pink: rosy | blushing pink
color white: ivory | snowy white
color black: ebony | midnight black
texture striped: elegantly striped
texture dotted: playfully dotted
texture checkered: finely checkered
texture solid: flawlessly plain
a some: a tranquil | a hushed
before -: before
ground -: expanse | canvas
meadow -: amid a verdant meadow | beneath a boundless blue sky
"""

_NUMBER = {"number": number}
_PUNCTUATION = "[.,:;!?\"'()]"
_TERSE = Parser(
    LEXICON.rstrip() + _TERSE_WORDS,
    _TERSE_RULES,
    longest=LONGEST["terse"] + 6,
    punctuation=_PUNCTUATION,
)
_ORNATE = Parser(
    LEXICON.rstrip() + _ORNATE_WORDS, RULES, longest=48, punctuation=_PUNCTUATION, names=_NUMBER
)

_SHOWS = r"(?:this|the) (?:picture|image|drawing|scene) shows"
_FURTHER = r"also|moreover|furthermore|in addition"
_BEGINNING = re.compile(rf"\b(?:{_SHOWS}|there (?:is|are)|(?:we|you) (?:can )?see|{_FURTHER})\b")
_JOINED = re.compile(rf"(?:{_FURTHER})\b\s*")
# of plain captions too: articles, and verbs
_WORDY = re.compile(
    r"\b(?:an?|another|the|this|each|every|is|are|has|have|see|shows?|contains|depicts|surrounds"
    r"|sits|stands|lies|hangs|floats|can|there|it|its)\b"
)


def readings(sentence: str) -> Iterator[Claims]:
    """Yield the claims of every parse of one sentence, of whichever style."""
    return chain.from_iterable(p.parses(sentence) for p in (PARSER, _ORNATE, _TERSE))


def sentences(caption: str) -> list[str]:
    """Return the sentences of a paragraph, without the words that join them; else the caption alone.

    Captioners write no punctuation, so a sentence begins where words stand that begin one: "there
    is", "also". A text whose first words are none of these ("left of a star there is a ring") is one
    sentence.
    """
    text = _plain(caption)
    places = [match.start() for match in _BEGINNING.finditer(text)]
    if not places or places[0]:
        return [text]
    # "also there is" begins once
    places = [b for a, b in zip([-1, *places], places, strict=False) if not _joins(text, a, b)]
    parts = (text[a:b] for a, b in zip(places, [*places[1:], len(text)], strict=True))
    return [_JOINED.sub("", part, count=1).strip() for part in parts]


def _joins(text: str, start: int, end: int) -> bool:
    return start >= 0 and _JOINED.fullmatch(text[start:end]) is not None


def style_of(caption: str) -> str:
    """Return which style a caption is of, "" for none; whether it is true does not matter.

    ornate: has one of the solemn openings or verbs, and one of the flourishes. paragraph: two
    sentences or more, the first of which says what the picture shows, of 120 words at most. terse:
    one to ten words, none of them an article or a verb.
    """
    text = _plain(caption)
    words = len(text.split())
    if _has(text, _FLOURISHES):
        return "ornate" if _has(text, (*_OPENINGS, *_VERBS)) else ""
    if re.match(_SHOWS, text) and len(sentences(caption)) > 1:
        return "paragraph" if words <= LONGEST["paragraph"] else ""
    return "terse" if 0 < words <= LONGEST["terse"] and not _WORDY.search(text) else ""


def _plain(caption: str) -> str:
    """Return a caption in lower case, its words apart by one blank and without punctuation."""
    return " ".join(re.sub(_PUNCTUATION, " ", caption.lower()).split())


def _has(text: str, phrases: tuple[str, ...]) -> bool:
    return any(f" {phrase} " in f" {text} " for phrase in phrases)
