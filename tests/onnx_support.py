"""Small captioners as exported folders of ONNX graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from captionlab.decoding import Beam
from captionlab.inference.export.onnx import OnnxCaptioner, write_onnx
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.models.captioner import Captioner
from captionlab.text.tokenizers import Tokenizer, WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from tests_support import tiny_preset

WORDS = ("a", "cat", "dog", "on", "red", "sits", "the")
# what tells of one layer tells of six
FEW_LAYERS = dict.fromkeys(("transformer", "m2"), ("model.decoder.layers=2",))


def small_preset(name: str, *overrides: str, vocabulary: int = 11) -> Captioner:
    """Return an untrained captioner of a preset whose captions are not all alike."""
    captioner = tiny_preset(name, *FEW_LAYERS.get(name, ()), *overrides, vocabulary=vocabulary)
    generator = torch.Generator().manual_seed(1)
    for parameter_name, parameter in captioner.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.3 * noise
        if parameter_name.endswith("cross.gate"):
            parameter.data.fill_(0.8)  # a language model would not look yet
    return captioner


def loaded_of(
    captioner: Any, tokenizer: Tokenizer | None = None, decoding: Any = None, fit: str = "stretch"
) -> LoadedCaptioner:
    """Return a captioner that takes photographs."""
    tokenizer = WordTokenizer(Vocabulary(WORDS)) if tokenizer is None else tokenizer
    decoding = Beam(beam_size=3, max_length=7) if decoding is None else decoding
    return LoadedCaptioner(captioner, tokenizer, decoding, {"data": {"fit": fit}})


def export(loaded: LoadedCaptioner, folder: Path, **options: Any) -> dict[str, Any]:
    """Write a captioner into a folder with as much of a list as ONNX needs, and return that."""
    folder.mkdir(exist_ok=True)
    options = {"precision": "float32", **options}
    manifest = {
        "onnx": write_onnx(loaded, folder, **options),
        "tokenizer": loaded.tokenizer.to_dict(),
        "image": {
            "size": loaded.captioner.encoder.image_size,
            "fit": loaded.config["data"]["fit"],
        },
    }
    text = json.dumps(manifest, ensure_ascii=False)
    (folder / "captionlab.json").write_text(text, encoding="utf-8", errors="backslashreplace")
    return json.loads((folder / "captionlab.json").read_text(encoding="utf-8"))


def opened(folder: Path) -> OnnxCaptioner:
    """Return the captioner of a folder's graphs."""
    return OnnxCaptioner(folder, json.loads((folder / "captionlab.json").read_text("utf-8")))


def random_images(count: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    """Return noise in blocks, (B, 3, size, size) uint8."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return blocks.repeat_interleave(size // 4, 2).repeat_interleave(size // 4, 3)


def save_photos(folder: Path, count: int = 3) -> list[Path]:
    """Save photographs of several sizes, large ones among them."""
    paths = []
    for number, image in enumerate(random_images(count, size=4, seed=5)):
        shape = ((90, 61), (300, 411), (40, 150), (33, 32))[number % 4]
        picture = Image.fromarray(np.asarray(image.permute(1, 2, 0)))
        paths.append(folder / f"{number}.jpg")
        picture.resize(shape, Image.Resampling.BICUBIC).save(paths[-1], quality=95)
    return paths
