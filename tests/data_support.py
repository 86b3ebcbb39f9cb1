"""Small data sets in the forms they are published in."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

CAPTIONS = ("A dog runs .", "A brown dog is running .")


def write_images(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 6), "gray").save(folder / name)


def write_text(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def coco_json(numbers: Iterable[int], prefix: str = "") -> dict[str, Any]:
    numbers = list(numbers)
    return {
        "images": [{"id": n, "file_name": f"{prefix}{n:012d}.jpg"} for n in numbers],
        "annotations": [
            {"id": 10 * n + k, "image_id": n, "caption": text}
            for n in numbers
            for k, text in enumerate(CAPTIONS)
        ],
    }


def coco_2014(root: Path) -> Path:
    for split, numbers in {"train": range(1, 4), "val": range(4, 6)}.items():
        prefix = f"COCO_{split}2014_"
        data = coco_json(numbers, prefix)
        write_text(root / f"annotations/captions_{split}2014.json", json.dumps(data))
        write_images(root / f"{split}2014", [image["file_name"] for image in data["images"]])
    return root


def karpathy_json(dataset: str, splits: dict[str, str], folder: str = "") -> dict[str, Any]:
    images = []
    for index, (name, split) in enumerate(splits.items()):
        image = {
            "filename": name,
            "split": split,
            "imgid": index,
            "sentences": [{"raw": text, "tokens": text.lower().split()} for text in CAPTIONS],
        }
        if dataset == "coco":
            image |= {"cocoid": 100 + index, "filepath": folder}
        images.append(image)
    return {"images": images, "dataset": dataset}


FLICKR_SPLITS = {
    "1_a.jpg": "train",
    "2_b.jpg": "train",
    "3_c.jpg": "train",
    "4_d.jpg": "val",
    "5_e.jpg": "test",
}


def flickr_lines(names: Iterable[str] = FLICKR_SPLITS, form: str = "{}#{}\t{}") -> str:
    lines = [form.format(n, k, text) for n in names for k, text in enumerate(CAPTIONS)]
    return "\n".join(lines) + "\n"


def flickr8k(root: Path) -> Path:
    write_text(root / "Flickr8k.token.txt", flickr_lines())
    for split, name in {"train": "train", "val": "dev", "test": "test"}.items():
        images = [image for image, of in FLICKR_SPLITS.items() if of == split]
        write_text(root / f"Flickr_8k.{name}Images.txt", "\n".join(images) + "\n")
    write_images(root / "Flicker8k_Dataset", FLICKR_SPLITS)
    return root


RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def save(path: Path, image: Image.Image, **how) -> Path:
    image.save(path, **how)
    return path


def color_at(image: torch.Tensor, y: int, x: int) -> tuple[int, ...]:
    return tuple(image[:, y, x].tolist())


def photo(width: int = 60, height: int = 40) -> Image.Image:
    """A picture with a red left half, a green right half and some detail."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, GREEN
    pixels[::4, ::4] = 128
    return Image.fromarray(pixels)


def jpeg_bytes() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (100, 120, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "jpeg")
    return buffer.getvalue()
