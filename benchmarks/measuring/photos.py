"""Captions of photographs from end to end: JPEG files, a checkpoint, and the program's own command."""

from __future__ import annotations

import atexit
import functools
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captionlab.build import Sizes, build_captioner
from captionlab.cli.predict import predict
from captionlab.config.compose import compose
from captionlab.config.resolve import resolve
from captionlab.inference.checkpoints import KEY, WEIGHTS_PREFIX, portable
from captionlab.text.tokenizers import WordTokenizer
from measuring.work import Work

WORDS = 3000  # of the checkpoint's vocabulary


@functools.cache
def _folder() -> Path:
    """Return a folder of this process's own, which ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="captionlab-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _photos(images: int) -> Path:
    """Return a folder of JPEG files of 500 x 375 pixels, as large and as smooth as photographs."""
    folder = _folder() / f"photos-{images}"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(images):
        coarse = draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC))
        noise = draw.normal(0, 8, smooth.shape)
        pixels = (smooth + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.jpg", quality=90)
    return folder


@functools.cache
def _checkpoint(work: Work) -> Path:
    """Return a checkpoint of ``experiment=photos``, its weights random."""
    overrides = ["experiment=photos", "data.root=.", "model.encoder.weights=null", *work.overrides]
    config = resolve(compose([*overrides, "output_dir=."]))
    texts = [f"word{number}" for number in range(WORDS)]
    tokenizer = WordTokenizer.fit(texts, threshold=1)
    torch.manual_seed(0)
    captioner = build_captioner(config["model"], Sizes.of(tokenizer)).eval()
    weights = {WEIGHTS_PREFIX + name: value for name, value in captioner.state_dict().items()}
    path = _folder() / f"{abs(hash(work))}.ckpt"
    entry = {**portable(config, tokenizer), "scores": {}}
    torch.save({"epoch": 0, "state_dict": weights, KEY: entry}, path)
    return path


def predicting(work: Work) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what captions a folder of photographs, and what does so with one (to be taken off).

    The second loads the checkpoint as the first does: what is left is the photographs' own time.
    """
    checkpoint = str(_checkpoint(replace(work, images=0, operation="predict")))
    out = str(_folder() / "captions.jsonl")

    def caption(images: int) -> None:
        folder = str(_photos(images))
        if predict(checkpoint, [folder], out=out, device=work.device):
            raise RuntimeError("a photograph could not be read")

    return lambda: caption(work.images + 1), lambda: caption(1)


def starting(work: Work) -> Callable[[], object]:
    """Return what starts the program anew for one photograph."""
    checkpoint = _checkpoint(replace(work, images=0, operation="predict"))
    photo = next(iter(_photos(1).iterdir()))
    command = [sys.executable, "-m", "captionlab", "predict", str(checkpoint), str(photo)]
    return lambda: subprocess.run(
        [*command, "--device", work.device], check=True, capture_output=True
    )


def time_of_children() -> float:
    """Return the CPU seconds of the processes that this one has started and seen end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
