"""Pieces of words."""

import pytest

from captionlab.core.errors import UserError
from captionlab.text.subwords import SubwordTokenizer

ENGLISH = ["A dog isn't running on the grass .", "Two dogs run on the red grass !"] * 5


def test_subwords_give_back_any_text_in_lower_case():
    tokenizer = SubwordTokenizer.fit(ENGLISH, size=280)
    for text in ("  A ZEBRA's\n№5 狗🐕 <eos>  ", "½ 'quoted' . . . &amp;", "\x00 x", "É é E\u0301"):
        assert tokenizer.decode(tokenizer.encode(text)) == " ".join(text.lower().split())
    assert tokenizer.decode(tokenizer.encode("a\ud800b\ufffd")) == "ab"


def test_broken_bytes_of_a_bad_guess_are_dropped():
    tokenizer = SubwordTokenizer.fit(ENGLISH, size=280)
    first_byte, *_ = tokenizer.encode("狗")[1:]
    assert "\ufffd" not in tokenizer.decode([first_byte, *tokenizer.encode("a dog")])


def test_subword_training_is_repeatable_and_takes_any_iterable():
    once = SubwordTokenizer.fit(iter(ENGLISH), size=300).to_dict()
    assert once == SubwordTokenizer.fit(ENGLISH, size=300).to_dict()


@pytest.mark.parametrize("size", [0, 259])
def test_a_subword_size_below_the_bytes_is_refused(size):
    with pytest.raises(UserError, match=rf"size={size} is too small.*260"):
        SubwordTokenizer.fit(ENGLISH, size=size)
