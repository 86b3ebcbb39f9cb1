"""Sizes, speed and captions of ONNX exports of a checkpoint, against its captioner in torch.

python experiments/export/measure.py CHECKPOINT WORK [--images 200] [--root FOLDER]

A row for each precision: bytes, images per second of one thread, how many captions are those of torch,
and CIDEr with its difference from float32 and 95 % intervals. Photographs are those of the test split,
of the validation split, and then of the training split until there are enough; CIDEr is of the
first two alone. WORK keeps the exports. ``families.py`` does the same for small models of every preset.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captionlab.build import build_data
from captionlab.data.records import CaptionRecord
from captionlab.decoding import Beam, Greedy
from captionlab.inference.export.onnx import OnnxCaptioner, write_onnx
from captionlab.inference.loaded import LoadedCaptioner, load_captioner
from captionlab.metrics.bootstrap import Statistic, difference, intervals
from captionlab.metrics.caption_metrics import CaptionMetrics
from captionlab.text.scoring import scoring_tokenizer

PRECISIONS = ("float32", "float16", "int8")
BATCH = 8
CALIBRATION = 100  # training photographs for int8
METHODS = {"greedy": Greedy(), "beam 3": Beam(beam_size=3)}


def exported(loaded: LoadedCaptioner, folder: Path, precision: str, photos: Sequence[Path]) -> Any:
    """Return an export's captioner, written into a folder where it is not yet."""
    manifest = folder / "captionlab.json"
    if not manifest.exists():
        folder.mkdir(parents=True, exist_ok=True)
        images = photos if precision == "int8" else ()
        onnx = write_onnx(loaded, folder, precision=precision, calibration_images=images)
        image = {"size": loaded.captioner.encoder.image_size, "fit": loaded.config["data"]["fit"]}
        described = {"onnx": onnx, "tokenizer": loaded.tokenizer.to_dict(), "image": image}
        manifest.write_text(json.dumps(described), encoding="utf-8")
    return OnnxCaptioner(folder, json.loads(manifest.read_text(encoding="utf-8")))


def captioned(loaded: LoadedCaptioner, images: Tensor) -> tuple[list[str], float]:
    """Return captions, and images per second of processor time."""
    loaded.caption(images[:BATCH])
    began = time.process_time()
    captions = [c for batch in images.split(BATCH) for c in loaded.caption(batch)]
    return captions, len(images) / (time.process_time() - began)


def cider_of(records: Sequence[CaptionRecord], captions: Sequence[str]) -> Statistic:
    """Return the CIDEr-D of captions, image by image."""
    metrics = CaptionMetrics(scoring_tokenizer("en"))
    for record, caption in zip(records, captions, strict=True):
        metrics.update([record.image_id], [caption], [record.captions])
    return metrics.compute().statistics["cider"]


def measure(checkpoint: str, work: Path, number: int, root: str | None) -> None:
    """Print the table of one checkpoint."""
    loaded = load_captioner(checkpoint)
    data = dict(loaded.config["data"])
    if root is not None:
        data["source"] = {**data["source"], "root": root}
    module = build_data(data)
    training = list(module.records("train"))
    unseen = [*module.records("test"), *module.records("val")][:number]
    records = [*unseen, *training[CALIBRATION:]][:number]
    calibration = [Path(record.image) for record in training[:CALIBRATION]]
    images = torch.stack([loaded.prepare(record.image) for record in records])
    captioners = {"torch": loaded.captioner}
    for precision in PRECISIONS:
        folder = work / precision
        captioners[precision] = exported(loaded, folder, precision, calibration)
    weights = sum(t.numel() * t.element_size() for t in loaded.captioner.state_dict().values())
    for method, decoding in METHODS.items():
        print(f"\n{method}: {len(records)} photographs, CIDEr of {len(unseen)}\n")
        print(
            "| format | MB | images/s | equal to torch | CIDEr | less float32 |\n|---|---|---|---|---|---|"
        )
        expected: list[str] = []
        usual: Statistic | None = None
        for name, captioner in captioners.items():
            writer = LoadedCaptioner(captioner, loaded.tokenizer, decoding, loaded.config)
            captions, speed = captioned(writer, images)
            expected = expected or captions
            cider = cider_of(unseen, captions[: len(unseen)])
            usual = cider if name == "float32" else usual
            print(_row(work / name, name, weights, speed, captions, expected, cider, usual))
    deviations = [
        deviation(loaded.captioner, captioners["float32"], b) for b in images.split(BATCH)
    ]
    print(f"\nlargest difference of float32's logits from torch's: {max(deviations):.1e}")


def _row(
    folder: Path,
    name: str,
    weights: int,
    speed: float,
    captions: Sequence[str],
    expected: Sequence[str],
    cider: Statistic,
    usual: Statistic | None,
) -> str:
    size = sum(p.stat().st_size for p in folder.iterdir()) if folder.is_dir() else weights
    equal = sum(a == b for a, b in zip(captions, expected, strict=True))
    low, high = intervals({"cider": cider})["cider"]
    less = "-"
    if usual is not None and usual is not cider:
        d = difference([cider], [usual])
        less = f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
    return (
        f"| {name} | {size / 1e6:.1f} | {speed:.1f} | {equal} of {len(captions)} | "
        f"{cider.whole():.3f} ({low:.3f} to {high:.3f}) | {less} |"
    )


@torch.inference_mode()
def deviation(captioner: Any, other: Any, images: Tensor, steps: int = 8) -> float:
    """Return the largest difference of two captioners' logits along one's greedy captions."""
    ours, theirs = captioner.encode(images), other.encode(images)
    own, state = captioner.init_state(ours, 1), other.init_state(theirs, 1)
    token = torch.ones(len(images), 1, dtype=torch.long)
    largest = 0.0
    for _ in range(steps):
        expected, own = captioner.step(token, own)
        found, state = other.step(token, state)
        largest = max(largest, float((expected - found).abs().max()))
        token = expected.argmax(-1)
    return largest


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("work", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--root", help="the folder of the data, where it has moved")
    options = parser.parse_args()
    torch.set_num_threads(1)
    measure(options.checkpoint, options.work, options.images, options.root)


if __name__ == "__main__":
    main()
