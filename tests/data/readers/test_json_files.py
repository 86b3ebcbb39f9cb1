"""What is wrong with a JSON file is told truly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.json_files import read_json
from data_support import write_text


def test_half_a_json_file_gives_line_column_and_character(tmp_path: Path):
    text = json.dumps({"images": [{"id": i} for i in range(99)], "annotations": []}, indent=0)
    half = text[: len(text) // 2]
    with pytest.raises(UserError) as error:
        read_json(write_text(tmp_path / "a.json", half))
    sentence = str(error.value)
    assert "a.json is cut in half: its JSON breaks off at line " in sentence
    assert f"of {len(half):,})" in sentence


def test_a_flaw_in_the_middle_is_not_called_a_cut(tmp_path: Path):
    file = write_text(tmp_path / "a.json", '{"a": 1,\n "b": [1 2], "c": "something after it"}')
    with pytest.raises(UserError, match=r"is not JSON at line 2, column 10 \(character 18"):
        read_json(file)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1,}', '{"a": 1}}', '{"a": "b" "c"}', "[1, 2", '{"a": tru', '{"a": "b', '["\\u12', "-"],
)
def test_a_cut_is_told_from_a_flaw_at_the_end(tmp_path: Path, text: str):
    """A cut file becomes JSON by adding to it, a flawed one does not."""
    with pytest.raises(UserError) as error:
        read_json(write_text(tmp_path / "a.json", text))
    ends = ("]", "e}", '"}', '34"]', "1")

    def is_json(end: str) -> bool:
        try:
            json.loads(text + end)
        except json.JSONDecodeError:
            return False
        return True

    assert ("cut in half" in str(error.value)) == any(map(is_json, ends))


def test_json_lines_are_called_so(tmp_path: Path):
    file = write_text(tmp_path / "a.json", '{"a": 1}\n{"a": 2}\n')
    with pytest.raises(UserError, match=r"one JSON value a line .*begins in line 2.*data=jsonl"):
        read_json(file)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000])
def test_what_python_cannot_parse_is_a_sentence(tmp_path: Path, text: str):
    with pytest.raises(
        UserError, match=r"a\.json is (nested too deeply|not JSON that can be read)"
    ):
        read_json(write_text(tmp_path / "a.json", text))
