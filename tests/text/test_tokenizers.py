"""Captions to ids and back."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.text import (
    CharacterTokenizer,
    SubwordTokenizer,
    WordTokenizer,
    character_tokens,
    ptb_tokens,
    tokenizer_from_dict,
)

FLICKR8K = Path(__file__).parents[2] / "../shared/data/flickr8k"
needs_captions = pytest.mark.skipif(not FLICKR8K.exists(), reason="needs the Flickr8k captions")
ENGLISH = ["A dog isn't running on the grass .", "Two dogs run on the red grass !"] * 5
CHINESE = ["一只狗在草地上跑。", "两只狗穿着T恤在跑 iPhone 6"] * 5
NASTY = [
    "",
    " \n",
    "\x00\ud800",
    "<eos> a <pad>",
    "café ½ 🐕 狗",
    "Ünïcode\u2028İ ŒUVRE",
    "a\ufffdb",
]


def fitted():
    return [
        WordTokenizer.fit(ENGLISH, threshold=1),
        CharacterTokenizer.fit(CHINESE, threshold=1),
        SubwordTokenizer.fit(ENGLISH + CHINESE, size=300),
    ]


def english(number):
    lines = (FLICKR8K / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("\t", 1)[1] for line in lines[:: len(lines) // number]]


@pytest.mark.parametrize("tokenizer", fitted(), ids=lambda t: t.kind)
def test_special_ids_are_the_same_and_never_come_from_text(tokenizer):
    special = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id)
    assert special == (0, 1, 2, 3)
    for text in (*NASTY, *ENGLISH, *CHINESE):
        ids = tokenizer.encode(text)
        assert all(3 <= i < len(tokenizer) for i in ids)
        assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize("tokenizer", fitted(), ids=lambda t: t.kind)
def test_decoding_stops_at_eos_and_shows_no_special_token(tokenizer):
    text = (ENGLISH if tokenizer.kind == "word" else CHINESE)[0]
    ids = tokenizer.encode(text)
    assert tokenizer.decode([1, 0, *ids, 3, 2, *ids]) == tokenizer.decode(ids)
    assert tokenizer.decode([1, 2]) == tokenizer.decode([]) == ""


@pytest.mark.parametrize("tokenizer", fitted(), ids=lambda t: t.kind)
def test_a_checkpoint_and_a_worker_give_the_same_tokenizer(tokenizer):
    read = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    sent = pickle.loads(pickle.dumps(tokenizer))
    assert type(read) is type(tokenizer)
    for text in (*ENGLISH, *CHINESE, *NASTY):
        assert read.encode(text) == sent.encode(text) == tokenizer.encode(text)
    assert len(read) == len(tokenizer)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "words", "format": 1}, "did you mean 'word'"),
        ({"kind": "word", "format": 2, "words": []}, "format 2"),
        ({"kind": "word", "format": 1}, "damaged"),
        ({"kind": "subword", "format": 1, "json": "{"}, "damaged"),
        ({"kind": "subword", "format": 1}, "damaged"),
        ({}, "kind None"),
        (None, "kind None"),
    ],
)
def test_what_is_no_tokenizer_is_refused(entry, message):
    with pytest.raises(UserError, match=message):
        tokenizer_from_dict(entry)


def test_words_out_of_the_vocabulary_are_unknown_and_not_shown():
    tokenizer = WordTokenizer.fit([*ENGLISH, "zebra"])
    ids = tokenizer.encode("A zebra on the grass")
    assert ids.count(tokenizer.unk_id) == 1
    assert tokenizer.decode(ids) == "a on the grass"


def test_chinese_is_joined_without_spaces_but_runs_stay_apart():
    tokenizer = CharacterTokenizer.fit(CHINESE, threshold=1)
    ids = tokenizer.encode("两只狗 T恤， iPhone 6 在跑。")
    assert tokenizer.decode(ids) == "两只狗t恤iphone 6在跑"


@pytest.mark.parametrize("captions", [[], ["", " \n"]])
@pytest.mark.parametrize("kind", [WordTokenizer, CharacterTokenizer, SubwordTokenizer])
def test_captions_without_text_make_no_vocabulary(kind, captions):
    with pytest.raises(UserError, match=f"{len(captions)} training captions hold no words"):
        kind.fit(captions)


def test_reports_tell_what_is_missing():
    report = WordTokenizer.fit(ENGLISH).report(["a zebra", "the dog"])
    assert (report.types, report.coverage, report.unknown) == (4, 0.75, 0.25)
    assert SubwordTokenizer.fit(ENGLISH, size=300).report(["a zebra"]).unknown == 0


@needs_captions
@pytest.mark.parametrize("kind", ["word", "subword"])
def test_real_captions_keep_their_scored_tokens(kind):
    captions = english(4000)
    if kind == "word":
        tokenizer = WordTokenizer.fit(captions, threshold=1)
    else:
        tokenizer = SubwordTokenizer.fit(captions)
    for caption in captions:
        assert ptb_tokens(tokenizer.decode(tokenizer.encode(caption))) == ptb_tokens(caption)


@needs_captions
def test_real_chinese_captions_keep_their_scored_tokens():
    lines = (FLICKR8K / "flickr8kzhc.caption.txt").read_text(encoding="utf-8").splitlines()
    captions = [line.split(" ", 1)[1] for line in lines[:4000]]
    tokenizer = CharacterTokenizer.fit(captions, threshold=1)
    for caption in captions:
        decoded = tokenizer.decode(tokenizer.encode(caption))
        assert character_tokens(decoded) == character_tokens(caption)


def test_text_needs_no_torch():
    code = "import sys, captionlab.text; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
