"""A text beside each picture, as the tools around generative models write it; PASCAL's sentences."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, NamedTuple, get_args

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.readers.columns import choose_columns
from captionlab.data.readers.fields import named
from captionlab.data.readers.files import data_root, listed, read_lines
from captionlab.data.readers.json_files import read_json
from captionlab.data.readers.listing import Listing, list_files
from captionlab.data.readers.split_folders import split_by_folder
from captionlab.data.readers.styles import require_few, style_of, styled
from captionlab.data.readers.texts import captions_of
from captionlab.data.records import Entry, Reader

ENDINGS = (".txt", ".caption", ".json")
MOST_BYTES = 2**20  # of a text beside a picture
CaptionPer = Literal["line", "file"]


class Sidecars(Reader):
    """Pictures with a file of the same name beside each: a.jpg and a.txt, a.caption or a.json.

    A text has a caption a line, or is one caption (`caption_per="file"`); a JSON file has `caption`
    or `captions`, and `style` if you like (`style_column` names another key, "" none). Folders train,
    val and test are splits, else the names are divided 80/10/10 by their hash. Pictures without a
    text are left out, and counted. `ending`: which files are read where there are several kinds; .txt
    goes before .json.
    """

    LAYOUT: ClassVar[str] = (
        "ROOT/[train|val|test/]a.jpg with a.txt, a.caption or a.json beside it, in any folders"
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        ending: str | None = None,
        caption_per: CaptionPer = "line",
        style_column: str | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        if caption_per not in get_args(CaptionPer):
            hint = did_you_mean(str(caption_per), get_args(CaptionPer))
            raise UserError(f"data.source.caption_per={caption_per}: {hint}")
        listing = list_files(folder)
        pictures = listing.require_pictures(self.LAYOUT)
        beside = texts_beside(listing, pictures, ending)
        if not beside:
            raise UserError(
                f"data.root={root} has no text beside its pictures, such as "
                f"{PurePosixPath(pictures[0]).with_suffix(ending or '.txt')}; "
                f"expected layout: {self.LAYOUT}"
            )
        captions = {
            picture: read_captions(folder / text, encoding, caption_per, style_column)
            for picture, text in beside.items()
        }
        _require_styles(captions, folder, style_column)
        split_of, division = split_by_folder(captions)
        super().__init__(
            [
                Entry(
                    split_of[name],
                    name,
                    folder / name,
                    read.texts,
                    str(folder / beside[name]),
                    styled((), len(read.texts), read.style),
                )
                for name, read in captions.items()
            ],
            language=language,
            origin=folder,
        )
        kinds = ", ".join(sorted({PurePosixPath(text).suffix for text in beside.values()}))
        without = len(pictures) - len(captions)
        form = f"a text beside each picture ({kinds}; a caption a {caption_per})"
        self.announce(form + (f", {without:,} pictures without" if without else ""), division)


class PascalSentences(Reader):
    """PASCAL sentences and its kin: texts in one folder, pictures in another, of the same names.

    Rashtchian et al., "Collecting Image Annotations Using Amazon's Mechanical Turk", NAACL Workshop
    2010: 1,000 photographs of 20 classes with five sentences each, and no split.
    """

    LAYOUT: ClassVar[str] = "ROOT/sentence/CLASS/NAME.txt, ROOT/dataset/CLASS/NAME.jpg"
    texts: ClassVar[tuple[str, ...]] = ("sentence", "sentences", "captions", "text")
    pictures: ClassVar[tuple[str, ...]] = ("dataset", "images", "Images", "pictures")

    def __init__(
        self, *, root: str | None = None, encoding: str = "utf-8", language: str = "en"
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        listing = list_files(folder)
        parallel = parallel_texts(listing)
        if not parallel:
            raise UserError(
                f"data.root={root} holds no texts in one folder ({listed(self.texts)}) with pictures "
                f"of the same names in another ({listed(self.pictures)}); "
                f"expected layout: {self.LAYOUT}"
            )
        split_of, division = split_by_folder(parallel)
        super().__init__(
            [
                Entry(
                    split_of[picture],
                    picture,
                    folder / picture,
                    read_captions(folder / text, encoding, "line").texts,
                    str(folder / text),
                )
                for picture, text in parallel.items()
            ],
            language=language,
            origin=folder,
        )
        self.announce("PASCAL sentences, a text in a folder beside", division)


def texts_beside(
    listing: Listing, pictures: Iterable[str], ending: str | None = None
) -> dict[str, str]:
    """Return picture -> the file beside it that holds its captions.

    Raises:
        UserError: if a picture has two such files, or two pictures have one.
    """
    endings = ENDINGS if ending is None else (ending if ending.startswith(".") else f".{ending}",)
    files = set(listing.files)
    owner: dict[str, str] = {}
    beside: dict[str, str] = {}
    for picture in pictures:
        path = PurePosixPath(picture)
        names = [str(path.with_suffix(end)) for end in endings] + [picture + end for end in endings]
        texts = [name for name in names if name in files and not _describes_folder(name)]
        if len([text for text in texts if not text.endswith(".json")]) > 1:
            raise UserError(
                f"{listing.root / picture} has two texts beside it, {texts[0]} and {texts[1]}: set "
                f"data.source.ending={PurePosixPath(texts[0]).suffix}"
            )
        if not texts:
            continue
        if owner.setdefault(texts[0], picture) != picture:
            raise UserError(
                f"{listing.root / texts[0]} may belong to {owner[texts[0]]} or to {picture}: give "
                "each picture a name of its own"
            )
        beside[picture] = texts[0]
    return beside


def _describes_folder(name: str) -> bool:
    return PurePosixPath(name).name.lower() in {"readme.txt", "license.txt", "classes.txt"}


def parallel_texts(listing: Listing) -> dict[str, str]:
    """Return picture -> the text of the same name in another folder; empty where there are none."""
    texts = {
        key: name
        for name in listing.files
        if name.endswith(".txt") and (key := _below(name, PascalSentences.texts))
    }
    return {
        picture: texts[key]
        for picture in listing.pictures()
        if (key := _below(picture, PascalSentences.pictures)) in texts and key
    }


def _below(name: str, folders: tuple[str, ...]) -> str:
    """Return a name without ending, below one of the folders at the root; empty elsewhere."""
    path = PurePosixPath(name)
    if len(path.parts) < 2 or path.parts[0] not in folders:
        return ""
    return str(PurePosixPath(*path.parts[1:]).with_suffix(""))


class Beside(NamedTuple):
    """What a file beside a picture says: its captions, and their style where it names one."""

    texts: list[str]
    style: str = ""


def read_captions(
    file: Path, encoding: str, caption_per: str, style_column: str | None = None
) -> Beside:
    """Return the captions of a text or JSON file beside a picture; an empty text has none.

    Raises:
        UserError: if it is too large to be captions, or no text of this encoding.
    """
    size = os.path.getsize(file)
    if size > MOST_BYTES:
        raise UserError(f"{file} has {size:,} bytes, too many to be a picture's captions")
    if file.suffix == ".json":
        return _json_captions(file, read_json(file, encoding), style_column)
    if not size or not file.read_bytes().strip():
        return Beside([])
    lines = read_lines(file, encoding)
    if any("\0" in line for line in lines):
        raise UserError(f"{file} holds a zero byte: it is no text")
    if caption_per == "file":
        return Beside(["\n".join(lines)])
    return Beside([line for line in lines if line.strip()])


def _require_styles(captions: Mapping[str, Beside], folder: Path, style_column: str | None) -> None:
    """Refuse too many styles, and the name of a key that no file has."""
    styles: dict[str, str] = {}
    for picture, read in captions.items():
        if read.style:
            styles.setdefault(read.style, f"beside {picture}")
    require_few(styles, folder)
    if style_column and not styles:
        raise UserError(
            f"data.source.style_column={style_column}: no JSON file beside a picture below {folder} "
            "names a style under this key"
        )


def _json_captions(file: Path, value: object, style_column: str | None) -> Beside:
    if isinstance(value, Mapping):
        keys = [str(key) for key, one in value.items() if one is not None]
        # the image's column does not matter: it is the file beside
        columns = choose_columns(
            ["image", *(k for k in keys if k != "image")],
            str(file),
            style_column=style_column,
            what="key",
        )
        texts = [one for key in columns.captions for one in captions_of(value[key], str(file), key)]
        key = columns.style
        return Beside(texts, style_of(value[key], str(file), key) if key else "")
    if isinstance(value, str | list):
        return Beside(captions_of(value, str(file), "captions"))
    raise UserError(f"{file} holds {named(value)}, no caption: {json.dumps({'caption': '...'})}")
