"""The page of explanations: one file that opens anywhere, also offline, and runs no script."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image, ImageDraw

from captionlab.applications.explain.curves import Curve
from captionlab.applications.explain.explanation import Explanation, WordExplanation
from captionlab.applications.explain.saliency import Saliency
from captionlab.core.files import replacing
from captionlab.evaluation.gallery import data_uri, fact_list

SIDE = 256  # pixels of a picture on the page
FOR, AGAINST = (255, 208, 0), (70, 150, 255)  # told apart with any color vision
TITLES = {
    "attention": "attention",
    "occlusion": "occlusion",
    "integrated_gradients": "integrated gradients",
}
DASHES = {"attention": "none", "occlusion": "7 3", "integrated_gradients": "2 3"}
WIDTH, HEIGHT, MARGIN = 220, 130, 26  # of a chart


@dataclass(frozen=True)
class Explained:
    """An explanation with the picture's name, and its width over its height as it is shown.

    ``asked``: the question or the style that was given before the caption.
    """

    name: str
    explanation: Explanation
    ratio: float = 1.0
    asked: str = ""


@dataclass(frozen=True)
class Page:
    """What a page shows; ``facts``: of what it is, by name."""

    title: str
    explained: Sequence[Explained] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it under a path, which it replaces only when it is complete."""
        with replacing(path) as temporary:
            # a lone surrogate can come out of a byte-level tokenizer, or of a file's name
            temporary.write_text(self.render(), encoding="utf-8", errors="replace")

    def render(self) -> str:
        """Return the HTML."""
        template = files("captionlab.applications.explain").joinpath("page_template.html")
        return Template(template.read_text(encoding="utf-8")).substitute(
            title=html.escape(self.title),
            facts=fact_list(self.facts),
            contents=_contents(self.explained),
            pictures="\n".join(_section(one, n) for n, one in enumerate(self.explained, 1)),
        )


def _contents(explained: Sequence[Explained]) -> str:
    """Return links to the pictures, where there are several."""
    if len(explained) < 2:
        return ""
    items = "".join(
        f'<li><a href="#picture-{n}">{html.escape(one.name)}</a>: '
        f'<span dir="auto">{html.escape(one.explanation.caption)}</span></li>'
        for n, one in enumerate(explained, 1)
    )
    return f'<nav aria-label="Pictures"><ol>{items}</ol></nav>'


def _section(explained: Explained, number: int) -> str:
    """Return the HTML of one picture."""
    explanation = explained.explanation
    caption, name = html.escape(explanation.caption), html.escape(explained.name)
    array = explanation.picture.permute(1, 2, 0).numpy()
    facts = {"asked": explained.asked} if explained.asked else {}
    facts |= {
        f"no {TITLES.get(method, method)}": reason for method, reason in explanation.missing.items()
    }
    seconds = (
        f"{TITLES.get(name, name)} {value:.1f} s" for name, value in explanation.seconds.items()
    )
    facts["time"] = ", ".join(seconds)
    return (
        f'<section id="picture-{number}" aria-labelledby="name-{number}" '
        f'style="--ratio: {explained.ratio:.4f}">'
        f'<h2 id="name-{number}">{name}</h2>'
        f'<div class="whole">{_image(_enlarged(array), f"{explained.name}, as the model sees it")}'
        f'<div><p class="caption" dir="auto">{caption}</p>{fact_list(facts)}</div></div>'
        f"{''.join(_word(word, array, explained.name) for word in explanation.words)}</section>"
    )


def _word(word: WordExplanation, array: np.ndarray, name: str) -> str:
    """Return the HTML of one word: a picture of each method, the numbers, the curves."""
    text = html.escape(word.text)
    figures = "".join(
        f"<figure>{_image(overlay(array, one), describe(word.text, one))}"
        f"<figcaption>{TITLES.get(one.method, one.method)}</figcaption></figure>"
        for one in word.saliencies
    )
    curves = ""
    drawn = [(one.method, one.curves) for one in word.saliencies if one.curves is not None]
    if drawn:
        curves = chart("deletion", {method: both.deletion for method, both in drawn})
        curves += chart("insertion", {method: both.insertion for method, both in drawn})
    return (
        f'<article><h3><span dir="auto">{text}</span> <small>word {word.place}: '
        f"{word.probability:.1%} likely, {word.without:.1%} with a gray picture</small></h3>"
        f'<div class="pictures"><div class="maps">{figures}</div><div class="curves">{curves}</div></div>'
        f"{_table(word, name)}</article>"
    )


def describe(word: str, saliency: Saliency) -> str:
    """Return what a picture shows, for those who do not see it."""
    x, y = saliency.peak
    return (
        f"What “{word}” rests on by {TITLES.get(saliency.method, saliency.method)}: most of all a "
        f"point {x:.0%} from the left and {y:.0%} from the top"
    )


def _table(word: WordExplanation, name: str) -> str:
    region = html.escape(f"Numbers of {word.text}, word {word.place} of {name}")
    rows = ""
    for one in word.saliencies:
        x, y = one.peak
        areas = ("", "")
        if one.curves is not None:
            areas = (f"{one.curves.deletion.area:.3f}", f"{one.curves.insertion.area:.3f}")
        rows += (
            f'<tr><th scope="row">{TITLES.get(one.method, one.method)}</th>'
            f"<td>{x:.0%} from the left, {y:.0%} from the top</td><td>{areas[0]}</td>"
            f"<td>{areas[1]}</td><td>{html.escape(one.remark)}</td></tr>"
        )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{region}">'
        f"<table><caption>Numbers of “{html.escape(word.text)}”</caption>"
        '<thead><tr><th scope="col">method</th><th scope="col">most important point</th>'
        '<th scope="col">deletion, low is good</th><th scope="col">insertion, high is good</th>'
        f'<th scope="col">how</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def overlay(array: np.ndarray, saliency: Saliency) -> Image.Image:
    """Return the picture in gray with the map over it, and a cross at the most important point.

    ``array``: (S,S,3) uint8. Yellow speaks for the word, blue against it; the largest is opaque.
    """
    gray = np.asarray(_enlarged(array).convert("L"), dtype=np.float32) * 0.75
    largest = max(float(saliency.map.abs().max()), float(np.finfo(np.float32).tiny))
    values = Image.fromarray(saliency.map.numpy().astype(np.float32) / largest)
    weight = np.asarray(values.resize((gray.shape[1], gray.shape[0]), Image.Resampling.BILINEAR))
    if float(saliency.map.min()) >= 0:  # attention is all positive: its floor is shown as nothing
        weight = weight - weight.min()
        weight = weight / max(float(weight.max()), float(np.finfo(np.float32).tiny))
    opacity = 0.85 * np.abs(weight)[..., None] ** 0.8
    color = np.where(weight[..., None] > 0, FOR, AGAINST)
    mixed = gray[..., None] * (1 - opacity) + color * opacity
    image = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
    x, y = (share * side for share, side in zip(saliency.peak, image.size, strict=True))
    pen = ImageDraw.Draw(image)
    for line_width, ink in ((5, "black"), (2, "white")):
        pen.line((x - 9, y, x + 9, y), fill=ink, width=line_width)
        pen.line((x, y - 9, x, y + 9), fill=ink, width=line_width)
    return image


def chart(title: str, curves: Mapping[str, Curve]) -> str:
    """Return an SVG of curves by method: a word's probability over the share of pixels changed."""
    wide, high = WIDTH - MARGIN - 6, HEIGHT - MARGIN - 6
    highest = max(max(curve.values) for curve in curves.values()) or 1.0
    lines = ""
    for method, curve in curves.items():
        points = " ".join(
            f"{MARGIN + wide * n / (len(curve.values) - 1):.1f},{6 + high * (1 - v / highest):.1f}"
            for n, v in enumerate(curve.values)
        )
        lines += (
            f'<polyline class="{method}" stroke-dasharray="{DASHES[method]}" points="{points}"/>'
        )
    areas = ", ".join(f"{TITLES[name]} {one.area:.3f}" for name, one in curves.items())
    bottom = HEIGHT - MARGIN
    share = "gone" if title == "deletion" else "there"
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}: areas under the curve: {areas}">'
        f'<path class="axis" d="M{MARGIN} 6V{bottom}H{WIDTH - 6}"/>{lines}'
        f'<text x="{MARGIN - 3}" y="12" text-anchor="end">{highest:.0%}</text>'
        f'<text x="{MARGIN - 3}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 12}">none {share}</text>'
        f'<text x="{WIDTH - 6}" y="{HEIGHT - 12}" text-anchor="end">all {share}</text></svg>'
        f"<figcaption>{title}</figcaption></figure>"
    )


def _enlarged(array: np.ndarray) -> Image.Image:
    image = Image.fromarray(array)
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _image(image: Image.Image, alt: str) -> str:
    return f'<img alt="{html.escape(alt)}" src="{data_uri(image, "JPEG", quality=85)}">'
