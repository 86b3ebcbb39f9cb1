"""A sentence about a stranger's file is a sentence, whatever the file holds."""

from __future__ import annotations

import pickle

from captionlab.core.errors import UserError


def test_a_sentence_cannot_steer_a_terminal():
    error = UserError("the name \x1b]0;owned\x07 \x9b31m, \ud83d, 狗 and é")
    assert str(error) == r"the name \x1b]0;owned\x07 \x9b31m, \ud83d, 狗 and é"
    str(error).encode()


def test_a_word_without_end_is_shortened():
    sentence = str(UserError(f"the name {'x' * 5000} is long; {'y' * 900} is a path"))
    assert sentence == f"the name {'x' * 200}...{'x' * 100} is long; {'y' * 900} is a path"


def test_a_sentence_goes_unchanged_from_process_to_process():
    error = UserError("line 1\nline 2\twith a tab")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "line 1\nline 2\twith a tab"
