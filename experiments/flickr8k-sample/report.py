"""Print the tables of this study's README from finished runs.

python experiments/flickr8k-sample/report.py RUN [RUN ...]
For each run: the unigram entropy of the training tokens, the curve, and captions of training images
(evaluated before with: captionlab evaluate RUN/checkpoints/last.ckpt split=train).
"""

import csv
import difflib
import json
import math
import sys
from collections import Counter
from pathlib import Path

from captionlab.build import build_data
from captionlab.inference.checkpoints import read_checkpoint

SHOWN_EPOCHS = 8
SHOWN_CAPTIONS = 10


def unigram_entropy(checkpoint: Path) -> float:
    """Return the entropy in nats of the training tokens, end tokens among them."""
    stored = read_checkpoint(checkpoint)
    records = build_data(stored.config["data"]).records("train")
    counts: Counter[int] = Counter()
    for record in records:
        for caption in record.captions:
            counts.update([*stored.tokenizer.encode(caption), stored.tokenizer.eos_id])
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


def curve(run: Path) -> None:
    """Print some rows of metrics.csv as a Markdown table."""
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [
        n
        for n in ("train/loss", "val/loss", "val/bleu_4", "val/meteor", "val/cider")
        if n in rows[0]
    ]
    print("| epoch | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    stride = max(1, len(rows) // SHOWN_EPOCHS)
    for row in [*rows[:-1:stride], rows[-1]]:
        cells = [f"{float(row[n]):.3f}" if row[n] else "" for n in names]
        print(f"| {int(row['epoch']) + 1} | " + " | ".join(cells) + " |")


def captions(folder: Path) -> None:
    """Print captions of training images beside the nearest of their references."""
    generated = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    references: dict[str, list[str]] = {}
    for row in json.loads((folder / "references.json").read_text(encoding="utf-8"))["annotations"]:
        references.setdefault(row["image_id"], []).append(row["caption"])
    print("| image | caption | a reference |\n|---|---|---|")
    for row in generated[:: len(generated) // SHOWN_CAPTIONS][:SHOWN_CAPTIONS]:
        said = row["caption"].lower()
        nearest = max(
            references[row["image_id"]],
            key=lambda text: difflib.SequenceMatcher(None, said, text.lower()).ratio(),
        )
        print(f"| {row['image_id']} | {row['caption']} | {nearest} |")


def main(runs: list[str]) -> None:
    """Print the report of each run."""
    for run in map(Path, runs):
        print(f"\n## {run.name}\n")
        print(f"unigram entropy {unigram_entropy(run / 'checkpoints' / 'last.ckpt'):.3f} nats\n")
        curve(run)
        print()
        for folder in sorted(run.glob("*-train")):
            results = json.loads((folder / "results.json").read_text())
            print({name: round(value, 3) for name, value in results.items()}, "\n")
            captions(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
