"""Measures every preset of the study alone on the machine: training captions/s, beam-5 images/s."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from captionlab.build import build_data
from captionlab.config.instantiate import build_part
from captionlab.decoding import Beam
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.weights import captioner_of

STEPS = 12


def main() -> None:
    """Write speed.json beside the runs, one entry a preset."""
    out = Path(sys.argv[1])
    speeds = {}
    for folder in sorted(out.glob("*-1")):
        speeds[folder.name.removesuffix("-1")] = measure(folder / "checkpoints" / "best.ckpt")
        print(folder.name, speeds[folder.name.removesuffix("-1")], flush=True)
    (out / "speed.json").write_text(json.dumps(speeds, indent=1))


def measure(path: Path) -> dict[str, float]:
    """Return speeds and parameters of one checkpoint; the memory comes from the store."""
    stored = read_checkpoint(path)
    data = build_data(stored.config["data"])
    data.tokenizer = stored.tokenizer
    captioner = captioner_of(stored)
    batch = next(iter(data.train_dataloader()))
    objective = build_part(stored.config["objective"], "objective")
    captions = int((batch.lengths > 0).sum())
    learned = [p for p in captioner.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        objective(captioner, batch)[0].backward()
        optimizer.step()

    captioner.train()
    training = captions / seconds(step)
    captioner.eval()
    memory = captioner.encode(batch.images)
    beam = Beam(beam_size=5)

    def search() -> None:
        beam(captioner, memory, bos_id=1, eos_id=2, pad_id=0, banned_ids=(3,))

    parameters = sum(p.numel() for p in captioner.decoder.parameters())
    return {
        "captions_a_second": training,
        "images_a_second": len(batch.image_ids) / seconds(search),
        "parameters": parameters,
    }


def seconds(call) -> float:
    """Return the median time of a call, in seconds."""
    call()
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    main()
