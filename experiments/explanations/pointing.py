"""The pointing game on the built-in pictures: does a map's highest point lie on the named object?

    python experiments/explanations/pointing.py attn_lstm=CKPT transformer=CKPT ... [--pictures 100]

Every captioner is asked about the same words: nouns of true captions that name the one object of their
shape, in pictures of two objects or more. Results of captioners that are named are written beside
those of others into results.json, and the table of all of them is printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from captionlab import load_captioner
from captionlab.applications.explain.explanation import Explainer
from captionlab.applications.explain.pointing import NamedObject, hits, named_objects
from captionlab.applications.explain.saliency import METHODS, Settings
from captionlab.data.readers.shapes import Shapes
from captionlab.metrics.bootstrap import Statistic, intervals

HERE = Path(__file__).parent


def main() -> None:
    """Play the game with every captioner that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captioners", nargs="+", metavar="NAME=CKPT")
    parser.add_argument("--pictures", default=100, type=int)
    parser.add_argument("--masks", default=300, type=int)
    options = parser.parse_args()
    file = HERE / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for argument in options.captioners:
        name, _, path = argument.partition("=")
        results[name] = play(path, items(options.pictures), Settings(masks=options.masks, steps=32))
        file.write_text(json.dumps(results, separators=(",", ":")) + "\n")
    print(table(results))


def items(count: int) -> list[tuple[torch.Tensor, str, NamedObject]]:
    """Return pictures with a caption and an object that one of its words names, one a picture."""
    source = Shapes()
    found = []
    for record in source.records("test"):
        scene = source.scene(record.image_id)
        if len(scene.objects) < 2:
            continue
        named = (
            (caption, one)
            for caption in record.captions
            for one in named_objects(caption.rstrip(".").split(), scene)
        )
        first = next(named, None)
        if first is not None:
            pixels = torch.from_numpy(np.ascontiguousarray(record.image())).permute(2, 0, 1)
            found.append((pixels, *first))
        if len(found) == count:
            return found
    raise SystemExit(f"there are {len(found)} such pictures")


def play(
    path: str, chosen: list[tuple[torch.Tensor, str, NamedObject]], settings: Settings
) -> dict:
    """Return what happened to every word: hits by method, areas under the curves, probabilities."""
    loaded = load_captioner(path)
    explainer = Explainer(loaded, METHODS, settings)
    rows = []
    seconds: dict[str, float] = {}
    for pixels, caption, named in chosen:
        explanation = explainer(loaded.prepare(pixels), caption=caption, word=str(named.word + 1))
        (word,) = explanation.words
        row = {
            "word": word.text,
            "area": named.box.area,
            "center": named.box.holds(0.5, 0.5),
            "probability": word.probability,
            "without": word.without,
        }
        for one in word.saliencies:
            row[one.method] = hits(one.map, named.box)
            row[f"{one.method} deletion"] = one.curves.deletion.area
            row[f"{one.method} insertion"] = one.curves.insertion.area
        for name, value in explanation.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value / len(chosen)
        rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return {"rows": rows, "seconds": seconds, "masks": settings.masks}


def table(results: dict) -> str:
    """Return the table in Markdown, with 95 % intervals over words drawn with replacement."""
    lines = [
        "| captioner | method | hits | where the picture doubles the word's chance "
        "| deletion (low is good) | insertion (high is good) | s a word |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in results.items():
        rows = one["rows"]
        seen = [row for row in rows if row["probability"] >= 2 * row["without"]]
        for method in ("center", *METHODS):
            if method not in rows[0]:
                continue
            cells = [share(rows, method), f"{share(seen, method)}, {len(seen)} words"]
            if method == "center":
                lines.append(f"| `{name}` | the center | {' | '.join(cells)} | | | |")
                continue
            for kind in ("deletion", "insertion"):
                cells.append(f"{np.mean([row[f'{method} {kind}'] for row in rows]):.3f}")
            lines.append(
                f"| `{name}` | {method.replace('_', ' ')} | {' | '.join(cells)} "
                f"| {one['seconds'][method]:.2f} |"
            )
    rows = next(iter(results.values()))["rows"]
    chance = np.mean([row["area"] for row in rows])
    lines += ["", f"By chance: {chance:.1%}, the mean share of the picture; {len(rows)} words."]
    return "\n".join(lines) + "\n"


def share(rows: list[dict], method: str) -> str:
    """Return the share of hits with its interval."""
    values = np.array([[float(row[method])] for row in rows])
    if not len(values):
        return ""
    low, high = intervals({"hits": Statistic(values)})["hits"]
    return f"{values.mean():.0%} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
