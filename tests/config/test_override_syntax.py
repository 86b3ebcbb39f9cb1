"""Overrides with any letters: what was typed is what arrives, or a sentence says how to type it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captionlab.config.compose import compose, groups
from captionlab.config.override_syntax import (
    as_readable,
    as_readable_arguments,
    explain_override,
    override_text,
    parse_override,
)
from captionlab.core.errors import UserError

NAMES = [
    "数据",
    "a=b",
    "a (1)",
    "a[b",
    "a#b",
    "a'b",
    'a"b',
    "~/photos",
    "é",
    "a;b&c",
    "a{b",
    "a\\'b",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_with_other_letters_arrives_as_it_was_typed(name: str):
    assert compose(["data=csv", f"data.root=x{name}"]).data.root == f"x{name}"


@pytest.mark.parametrize(
    "name", [*NAMES, "a,b", "1", "true", "null", "", " a ", "a\\", "[a]", "${a}"]
)
def test_a_printed_override_gives_the_very_text(name: str):
    if "${" in name:
        pytest.skip("an interpolation on purpose")
    assert parse_override(override_text("key", name)).value() == name


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_characters="\0\r\n$", exclude_categories=["Cs"]), max_size=12))
def test_any_text_can_be_printed_as_an_override(value: str):
    assert parse_override(override_text("key", value)).value() == value
    typed = shlex.split(shlex.join([override_text("key", value)]))
    assert parse_override(typed[0]).value() == value


def test_each_value_of_a_sweep_is_looked_at_by_itself():
    assert as_readable_arguments(["-m", "data.root=数据,other"]) == ["-m", 'data.root="数据",other']
    assert as_readable_arguments(["seed=1,2", "-m"]) == ["seed=1,2", "-m"]


def test_what_hydra_reads_is_left_as_it_is():
    for text in ("seed=1", "a.b=[1,2]", "+a={b: c}", "~logger", "seed=1,2", "--cfg", "a='x y'"):
        assert as_readable(text) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a=[dog", "ends with ]"),
        ("a={b: c", "ends with }"),
        ("a='dog", "ends with the quote"),
        ("a b=c", "'a b' is no key"),
        ("word", "KEY=VALUE"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, part: str):
    assert part in explain_override(text)
    with pytest.raises(UserError, match="cannot be read"):
        parse_override(text)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["data.root=a,b"], ["data.root=a,b", "-m", "in quotes", """'data.root="a,b"'"""]),
        (["+trainer.max_steps=2"], ["trainer.max_steps=2, without the +"]),
        (["data.train_size=200"], ["did you mean data.source.train_size?"]),
        (["~seeed"], ["~seeed", "seed"]),
        (["model=null", "model.encoder.image_size=8"], ["model=null leaves nothing"]),
    ],
)
def test_hydras_own_sentences_are_not_passed_on(overrides: list[str], parts: list[str]):
    with pytest.raises(UserError) as error:
        compose(overrides)
    assert len(str(error.value).splitlines()) == 1
    for part in parts:
        assert part in str(error.value)


def test_null_is_no_choice_of_a_group():
    assert "logger" in groups()
    assert "model/tags" in groups()
    assert as_readable_arguments(["logger=null", "ckpt=null"], groups()) == ["~logger", "ckpt=null"]
    assert compose(["scheduler=null"]).get("scheduler") is None
