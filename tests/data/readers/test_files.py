from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.files import data_root, nearest, read_lines, read_text, require
from data_support import write_text


def test_no_root_says_what_to_give_and_the_layout():
    with pytest.raises(UserError, match=r"give data.root=FOLDER.*expected layout: ROOT/a.txt"):
        data_root(None, "ROOT/a.txt")


def test_a_mistyped_root_names_the_nearest_folder(tmp_path: Path):
    (tmp_path / "flickr8k").mkdir()
    with pytest.raises(UserError, match=r"flickr8 does not exist: the nearest .*/flickr8k'"):
        data_root(str(tmp_path / "flickr8"), "ROOT/a.txt")


def test_a_file_is_no_root(tmp_path: Path):
    with pytest.raises(UserError, match="is a file, not a folder"):
        data_root(str(write_text(tmp_path / "a.zip", "x")), "ROOT/a.txt")


def test_a_file_where_a_folder_is_wanted_is_called_a_file(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    assert nearest(tmp_path / "a.jpg") == "it is a file"
    assert nearest(tmp_path) == "it is a folder"


def test_nearest_lists_what_the_last_existing_folder_holds(tmp_path: Path):
    (tmp_path / "b").mkdir()
    assert nearest(tmp_path / "x" / "y" / "z").endswith(f"{str(tmp_path)!r}, which holds b")


def test_a_missing_file_names_all_places_and_the_layout(tmp_path: Path):
    with pytest.raises(UserError, match=r"no caption file \(a.txt or b.txt\).*layout: ROOT/a.txt"):
        require(tmp_path, ("a.txt", "in/a.txt", "b.txt"), what="caption file", layout="ROOT/a.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, encoding: str):
    file = write_text(tmp_path / "a.txt", "Zwölf 狗", encoding)
    assert read_text(file, encoding) == "Zwölf 狗"
    if encoding == "utf-8-sig":
        assert read_text(file) == "Zwölf 狗"


@pytest.mark.parametrize(
    ("text", "encoding", "line"),
    [
        ("a\nb\nthe café is naïve\n", "cp1252", 3),
        ("a.jpg#0\tthree dogs\na.jpg#1\t三只狗在草地上奔跑。\n", "gb18030", 2),
        ("a\nb\n", "utf-16", 1),
    ],
)
def test_another_encoding_is_named_with_its_place_and_key(tmp_path, text, encoding, line):
    file = write_text(tmp_path / "a.txt", text, encoding)
    with pytest.raises(UserError) as error:
        read_text(file, "utf-8")
    assert f"(line {line})" in str(error.value)
    assert f"set data.source.encoding={encoding}" in str(error.value)
    with pytest.raises(UserError, match=f"it seems to be {encoding}: save it as UTF-8") as error:
        read_text(file)  # no setting decides it
    assert "data.source" not in str(error.value)
    assert read_text(file, encoding) == text


def test_a_utf8_file_read_as_ascii_is_recognized(tmp_path: Path):
    file = write_text(tmp_path / "a.txt", "Zwölf")
    with pytest.raises(UserError, match=r"not ascii: byte 0xc3 at byte 2.*encoding=utf-8"):
        read_text(file, "ascii")


def test_a_text_cut_inside_a_character_is_called_cut(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.write_bytes("一只狗".encode()[:-1])
    with pytest.raises(UserError, match=r"breaks off inside a character at byte 6 \(line 1\)"):
        read_text(file)


def test_an_unknown_encoding_names_the_key(tmp_path: Path):
    with pytest.raises(UserError, match=r"data.source.encoding='utf-99'"):
        read_text(write_text(tmp_path / "a.txt", "a"), "utf-99")


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_file_is_called_empty(tmp_path: Path, text: str):
    with pytest.raises(UserError, match=r"a.txt is empty \(\d bytes\)"):
        read_text(write_text(tmp_path / "a.txt", text))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_at_line_ends_only(tmp_path: Path, end: str):
    file = write_text(tmp_path / "a.txt", end.join(["a\u2028b", "c\x0bd", ""]))
    assert read_lines(file) == ["a\u2028b", "c\x0bd", ""]
