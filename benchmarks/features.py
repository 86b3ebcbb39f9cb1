"""An epoch from stored features against an epoch from images, in one run.

    python benchmarks/features.py [--encoder resnet18] [--images 256] [--size 224] [--device cpu]

Both train the same attention LSTM (512 wide) for one epoch on the same captions with a frozen
encoder of random weights; the store is what a run with data.features=auto fills by itself. The images
are JPEG files of 500 x 375; the first epoch reads them, a later one finds them prepared in memory.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from captionlab.build import Sizes, build_captioner, build_data
from captionlab.cli.auto_features import auto_features
from captionlab.config.compose import compose
from captionlab.config.resolve import resolve
from captionlab.core.caches import VARIABLE
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy

WORDS = ["a", "dog", "runs", "over", "wet", "sand", "near", "the", "sea", "today"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), known.images)
        overrides = [
            "model=attn_lstm",
            f"model/encoder={known.encoder}",
            "model.encoder.weights=null",
            f"model.encoder.image_size={known.size}",
            "data=csv",
            f"data.root={folder}",
            "data.tokenizer.threshold=1",
        ]
        os.environ[VARIABLE] = f"{folder}/cache"
        images = Training([*overrides, "data.features=null"], known.device)
        stored = Training(overrides, known.device)
        start = time.perf_counter()
        with auto_features(stored.config, stored.data, stored.encoder, known.device) as read:
            read(["train"], ["train"])
            filling = time.perf_counter() - start
            features = min(stored.epoch() for _ in range(2))
            before = anonymous_memory()
            for _ in stored.data.train_dataloader():
                pass
            grown = anonymous_memory() - before
            dataset = stored.data.dataset("train")
            size = sum(file.stat().st_size for file in dataset.features.path.iterdir())
        first, again = images.epoch(), images.epoch()
    print(f"storing once            {filling:7.2f} s, {size / 1e6:.0f} MB")
    print(f"epoch from files        {first:7.2f} s")
    print(f"epoch, images in memory {again:7.2f} s")
    print(f"epoch from the store    {features:7.2f} s")
    print(
        f"ratio: {first / features:.1f} times as fast as from files, "
        f"{again / features:.1f} times as from images in memory"
    )
    print(f"reading the store once more took {grown / 1e6:.0f} MB of this process's own memory")


def anonymous_memory() -> int:
    """Return the bytes of this process that are no pages of files; 0 where nobody tells (not Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def draw(folder: Path, images: int) -> None:
    random = np.random.default_rng(0)
    rows = ["image,caption,split"]
    for number in range(images + 4):
        split = "train" if number < images else ("val" if number < images + 2 else "test")
        # smooth enough to be a photograph to the decoder of JPEG
        small = random.integers(0, 256, (25, 33, 3), dtype=np.uint8)
        Image.fromarray(small).resize((500, 375)).save(folder / f"{number}.jpg")
        for _ in range(5):
            rows.append(f"{number}.jpg,{' '.join(random.choice(WORDS, 10))},{split}")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")


class Training:
    def __init__(self, overrides: list[str], device: str) -> None:
        torch.manual_seed(0)
        self.config = config = resolve(compose([*overrides, "output_dir=unused"]))
        self.device = device
        self.data: Any = build_data(config["data"])
        self.data.setup("fit")
        self.captioner = build_captioner(config["model"], Sizes.of(self.data.tokenizer)).to(device)
        self.encoder = self.captioner.encoder
        learned = [p for p in self.captioner.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, lr=1e-4)
        self.objective = CrossEntropy()

    def epoch(self) -> float:
        self.captioner.train()
        start = time.perf_counter()
        for batch in self.data.train_dataloader():
            loss, _ = self.objective(self.captioner, batch.to(self.device))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
