"""A page that shows images with their captions: one file that opens anywhere, also offline."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from captionlab.core.files import replacing
from captionlab.data.images.prepare import Box, scaled
from captionlab.evaluation.attention_maps import WHOLE, AttentionMaps

LARGEST_SIDE = 320  # pixels: what a card shows on a screen of usual density, and a phone loads fast
TILE, LABEL, TILES = 112, 20, 8  # pixels of a word's tile and its label; tiles in a row
MARK = "#ffd23f"  # the outline of the region with the largest weight
DARKEST = 210  # of 255: how black the part of an image becomes where the model did not look


@dataclass(frozen=True)
class Example:
    """One captioned image.

    ``image``: uint8, a tensor (3,h,w) or an array (h,w,3), in its own proportions. ``scores``: any,
    by name. ``true``: whether all the caption says holds, None if nobody can tell. ``attention``:
    where the model looked for each of the T ``words``; ``attention_missing``: why that is not shown.
    ``remark``: what else must be said of the image. ``asked``: the question, style or language that was
    given before the caption.
    """

    image: Tensor | np.ndarray
    image_id: int | str
    caption: str
    references: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    true: bool | None = None
    attention: AttentionMaps | None = None
    words: Sequence[str] = ()
    attention_missing: str = ""
    remark: str = ""
    asked: str = ""

    def image_array(self) -> np.ndarray:
        """Return the image as a uint8 array (h,w,3); ValueError for anything else."""
        image = self.image
        array = image.permute(1, 2, 0).cpu().numpy() if isinstance(image, Tensor) else image
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"an image must be uint8 with 3 channels: {image.dtype} {image.shape}")
        return array


def write_gallery(
    path: Path,
    examples: Sequence[Example],
    title: str,
    summary: Mapping[str, float],
    facts: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the page of the examples under ``path``, which it replaces only when it is complete.

    ``title``: its heading; below it ``facts``, which say of what it is (data, checkpoint,
    decoding), and ``summary``, scores of the whole split, both by name. The address
    ``gallery.html#sort=worst&by=cider`` opens it worst first.
    """
    page = render_gallery(examples, title, summary, facts)
    with replacing(path) as temporary:
        # a lone surrogate can come out of a byte-level tokenizer: it must not cost the page
        temporary.write_text(page, encoding="utf-8", errors="replace")


def render_gallery(
    examples: Sequence[Example],
    title: str,
    summary: Mapping[str, float],
    facts: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the HTML of the page."""
    names = list(dict.fromkeys(name for example in examples for name in example.scores))
    chosen = "cider" if "cider" in names else next(iter(names), None)
    options = [
        f'<option value="{html.escape(name)}"{" selected" * (name == chosen)}>'
        f"{html.escape(name)}</option>"
        for name in names
    ]
    template = Template(
        files("captionlab.evaluation").joinpath("gallery_template.html").read_text(encoding="utf-8")
    )
    return template.substitute(
        title=html.escape(title),
        facts=fact_list({**facts, **attention_facts(examples)}),
        summary=score_list("summary", summary),
        by_hidden="" if names else " hidden",
        by_options="".join(options),
        show_hidden="" if any(example.true is not None for example in examples) else " hidden",
        cards="\n".join(card(example) for example in examples),
        nothing="" if examples else '<p class="nothing">There is no example.</p>',
    )


def card(example: Example) -> str:
    """Return the HTML of one example."""
    image = Image.fromarray(example.image_array())
    caption = html.escape(" ".join(example.caption.split()))
    shown = caption or '<span class="empty">(an empty caption)</span>'
    finite = {name: score for name, score in example.scores.items() if math.isfinite(score)}
    truth = "" if example.true is None else str(bool(example.true)).lower()
    references = "".join(f'<li dir="auto">{html.escape(text)}</li>' for text in example.references)
    image_id = html.escape(str(example.image_id))
    parts = [
        f'<p class="asked" dir="auto">{html.escape(example.asked)}</p>' if example.asked else "",
        f'<p class="caption" dir="auto">{shown}</p>',
        f'<ul class="references" aria-label="References">{references}</ul>' if references else "",
        score_list("scores", example.scores, truth),
        attention_strip(example),
        f'<p class="remark">{html.escape(example.remark)}</p>' if example.remark else "",
        f'<p class="id">{image_id}</p>',
    ]
    return (
        f'<li class="card" data-id="{image_id}" data-true="{truth}" '
        f'data-scores="{html.escape(json.dumps(finite))}" '
        f'style="--shape: {image.width} / {image.height}">'
        f'<img alt="{caption or "(an empty caption)"}" src="{photo(image)}" decoding="async">'
        f"<div>{''.join(parts)}</div></li>"
    )


def attention_facts(examples: Iterable[Example]) -> dict[str, str]:
    """Return why a page shows no attention, or not of all images; nothing where it does."""
    reasons = list(
        dict.fromkeys(
            e.attention_missing for e in examples if e.attention is None and e.attention_missing
        )
    )
    return {"attention": f"not shown: {'; '.join(reasons)}"} if reasons else {}


def fact_list(facts: Mapping[str, str]) -> str:
    """Return what a page is about as an HTML list of names and words."""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
        for name, text in facts.items()
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def score_list(kind: str, scores: Mapping[str, float], truth: str = "") -> str:
    """Return scores as an HTML list of names and values, with "caption: true" in front if known."""
    rows = [(f' class="{truth}"', "caption", truth)] if truth else []
    rows += [("", html.escape(name), f"{score:.3f}") for name, score in scores.items()]
    items = "".join(
        f"<div{mark}><dt>{name}</dt><dd>{value}</dd></div>" for mark, name, value in rows
    )
    return f'<dl class="{kind}">{items}</dl>' if items else ""


def attention_strip(example: Example) -> str:
    """Return the strip of small images that are dark where the model did not look.

    ValueError unless there is one map for each word.
    """
    place = placed(WHOLE if example.attention is None else example.attention.frame)
    cells = ""
    for word, map_, box in attention_maps(example):
        shade = f'<img alt="" style="{place}" src="{data_uri(spotlight(map_), "PNG")}">'
        outline = "" if box is None else f'<i style="{placed(box)}"></i>'
        cells += f"<li><span>{shade}{outline}</span>{html.escape(word)}</li>"
    if not cells:
        return ""
    return f'<ul class="attention" aria-label="Where the model looked for each word">{cells}</ul>'


def photo(image: Image.Image) -> str:
    """Return a small copy of the image as a data URI: JPEG, or PNG where it is small already."""
    if max(image.size) <= LARGEST_SIDE / 2:
        return data_uri(image, "PNG")
    small = image.copy()
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return data_uri(small, "JPEG", quality=85)


def placed(box: Box) -> str:
    """Return the CSS that puts something where the box lies in what holds it."""
    left, top, right, bottom = (100 * share for share in box)
    return f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"


def attention_maps(example: Example) -> list[tuple[str, np.ndarray, Box | None]]:
    """Return each word with its map (n,m) and its region, if any; nothing without attention.

    ValueError unless there is one map for each word.
    """
    if example.attention is None:
        return []
    maps = example.attention.maps.detach().float().cpu().numpy()
    if maps.ndim != 3 or len(maps) != len(example.words):
        raise ValueError(f"attention {maps.shape} does not fit {len(example.words)} words")
    boxes = example.attention.boxes
    places = [None] * len(maps) if boxes is None else [tuple(box) for box in boxes.tolist()]
    return list(zip(example.words, maps, places, strict=True))


def spotlight(weights: np.ndarray) -> Image.Image:
    """Return a black image (n,m) that is clear where ``weights`` are largest."""
    largest = max(float(weights.max()), np.finfo(np.float32).tiny)
    opacity = np.round(DARKEST * (1 - weights / largest)).astype(np.uint8)
    return Image.fromarray(np.stack([np.zeros_like(opacity), opacity], -1), "LA")


def attention_picture(example: Example) -> Image.Image | None:
    """Return one picture for dashboards: a tile for each word, dark where the model did not look."""
    maps = attention_maps(example)
    if not maps:
        return None
    whole = Image.fromarray(example.image_array())
    height, width = scaled(whole.height, whole.width, TILE)
    photo = whole.resize((width, height), Image.Resampling.BILINEAR)
    place = WHOLE if example.attention is None else example.attention.frame
    columns = min(len(maps), TILES)
    rows = -(-len(maps) // columns)
    picture = Image.new("RGB", (columns * TILE, rows * (height + LABEL)), "white")
    pen = ImageDraw.Draw(picture)
    for number, (word, map_, box) in enumerate(maps):
        left, top = number % columns * TILE, number // columns * (height + LABEL)
        tile = shaded(photo, map_, place)
        if box is not None:
            ImageDraw.Draw(tile).rectangle(pixels(box, photo), outline=MARK)
        picture.paste(tile, (left, top))
        pen.text((left + 4, top + height + 2), word, fill="black", font=ImageFont.load_default(13))
    return picture


def shaded(photo: Image.Image, weights: np.ndarray, place: Box) -> Image.Image:
    """Return the photo, dark where ``weights`` (n,m) over ``place`` are small, and outside of it."""
    left, top, right, bottom = pixels(place, photo)
    size = (max(1, right - left), max(1, bottom - top))
    opacity = Image.new("L", photo.size, DARKEST)
    inside = spotlight(weights).getchannel("A").resize(size, Image.Resampling.BILINEAR)
    opacity.paste(inside, (left, top))
    return Image.composite(Image.new("RGB", photo.size), photo, opacity)


def pixels(box: Box, photo: Image.Image) -> tuple[int, int, int, int]:
    """Return a box of shares in pixels of the photo."""
    left, top, right, bottom = box
    return (
        *(round(left * photo.width), round(top * photo.height)),
        *(round(right * photo.width), round(bottom * photo.height)),
    )


def data_uri(image: Image.Image, kind: str, **options: int) -> str:
    """Return an encoded image that stands in the page itself."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{encoded}"
