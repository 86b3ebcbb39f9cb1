"""The parser: its notation, and that every table reads what its language writes."""

from pathlib import Path
from random import Random

import pytest

from captionlab.shapes import parse, write
from captionlab.shapes.parse import LANGUAGES
from captionlab.shapes.parse.compiler import compile_rules
from captionlab.shapes.parse.lexicon import END, Lexicon, expand
from captionlab.shapes.plan import _KINDS, plan
from captionlab.shapes.scene import sample_scene
from captionlab.shapes.truth import is_true


def values(body: str, tokens: str, extra=None):
    """Return what a rule "sentence" makes of tokens such as "a b=1 c"."""
    pairs = [token.partition("=")[::2] for token in tokens.split()]
    categories, texts = [c for c, _ in pairs], [v for _, v in pairs]
    parse_sentence = compile_rules(body, {*"abcd", END, "of"}, extra or {})
    return [v for v, _ in parse_sentence([*categories, END], [*texts, ""], 0)]


@pytest.mark.parametrize(
    ("body", "tokens", "expected"),
    [
        ("a b end -> (a, b)", "a=1 b=2", [("1", "2")]),
        ("a b end -> (a, b)", "b=2 a=1", []),
        ("x:a/b end -> x", "b=2", ["2"]),
        ("a=1 end -> 'yes'", "a=1", ["yes"]),
        ("a=1 end -> 'yes'", "a=2", []),
        ("a=- end -> 'yes'", "a", ["yes"]),
        ("[a] b end -> (a, b)", "b=2", [("", "2")]),
        ("[a] b end -> (a, b)", "a=1 b=2", [("1", "2")]),
        ("a? x:[a] -> (a, x)", "a=1", [("", "1"), ("1", "")]),
        ("x:a/b* end -> x", "a=1 b=2 a=3", [["1", "2", "3"]]),
        ("x:a/b* end -> x", "", [[]]),
        ("x:a/b+ end -> x", "", []),
        ("x:a+[of] [of] end -> x", "a=1 of a=2 of", [["1", "2"]]),
        ("x:a&b end -> x", "b=2 a=1", [{"b": "2", "a": "1"}]),
        ("x:a&b end -> x", "b=2 b=1", []),
        ("x:a&b[of] of end -> x", "a=1 of b=2 of", [{"a": "1", "b": "2"}]),
        ("a !b -> a", "a=1 c", ["1"]),
        ("a !b -> a", "a=1 b", []),
        ("a {a == '1'} end -> a", "a=2", []),
        ("a {n := int(a)} end -> n + 1", "a=2", [3]),
        ("-> 'nothing'", "", ["nothing"]),
        ("rest end -> rest", "a=1 a=2", ["12"]),
        ("x:shifted('>') end -> x", "a=1", [">1"]),
    ],
)
def test_symbols(body, tokens, expected):
    table = f"""
sentence
    {body}
rest
    a rest -> a + rest
    -> ""
shifted(mark)
    a -> mark + a
"""
    assert values(table, tokens) == expected


def test_every_alternative_is_a_parse_in_the_order_of_the_table():
    table = """
sentence
    words end -> words
words
    word -> [word]
    word words -> [word, *words]
# a comment
word
    a -> "short"
    a b -> "long"
    b -> "other"
"""
    assert values(table, "a b a") == [["short", "other", "short"], ["long", "short"]]


def test_a_name_that_nothing_has_is_named():
    with pytest.raises(AssertionError, match=r"no rule and no token.*nuon"):
        values("sentence\n    a nuon end -> a", "a")


def test_the_longest_phrase_of_a_lexicon_wins():
    lexicon = Lexicon("a 1: left\n# a comment\nb -: left of | Left (/upper/lower) side\n")
    assert lexicon.tokens(["left", "left", "of", "left", "upper", "side", "left"]) == (
        ["a", "b", "b", "a", END],
        ["1", "", "", "1", ""],
    )
    assert lexicon.tokens(["of"]) is None
    characters = Lexicon("a 1: 左边\nb 2: 左\n", spaced=False)
    assert characters.tokens("左左边") == (["b", "a", END], ["2", "1", ""])


def test_groups_of_a_lexicon_stand_for_all_combinations():
    assert expand("(a/b) (c/d)") == ["a c", "a d", "b c", "b d"]
    assert {*expand("a(/ (b/c))")} == {"a", "a b", "a c"}


def test_what_is_written_can_be_read_and_neither_knows_the_other():
    assert parse.LANGUAGES == write.LANGUAGES
    for package, other in ((parse, "shapes.write"), (write, "shapes.parse")):
        for path in Path(package.__file__).parent.glob("*.py"):
            assert other not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_sentence_is_read_as_true(language):
    rng, kinds = Random(f"kinds {language}"), set()
    for _ in range(3000):
        scene = sample_scene(rng)
        message = plan(scene, rng)
        text = write.grammar(language).write(message, rng)
        assert is_true(text, scene, language), (message.kind, text, scene)
        kinds.add(message.kind)
    # planners of "inside" and "alike" make relations and "same", too
    assert kinds == {*_KINDS, "same"} - {"inside"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_is_of_one_language(language):
    rng = Random(8)
    scene = sample_scene(rng)
    text = write.grammar(language).write(plan(scene, rng), rng)
    assert is_true(text, scene)
    for other in LANGUAGES:
        assert is_true(text, scene, other) == (other == language)
