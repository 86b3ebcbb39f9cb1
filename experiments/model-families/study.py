"""Trains every preset on the built-in data with one budget and three seeds; resumable.

    python experiments/model-families/study.py [--out runs/model-families] [--jobs 2]

Finished runs are kept, an interrupted one goes on from its last checkpoint. The pictures are seen
once: one default run trains the small encoder, ``captionlab extract`` stores what it sees, and all
presets learn to speak from that store. At the end report.py writes the table and the figure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from running import extract  # noqa: E402

from captionlab.config.override_syntax import override_text  # noqa: E402
from captionlab.sweeps.launch import train_all  # noqa: E402

SEEDS = (1, 2, 3)
EPOCHS = 2
# one budget: about the same width everywhere, so that families differ, not sizes
WIDTH = ["model.decoder.hidden=192"]
WORDS = ["model.decoder.embedding=128", "model.decoder.dropout=0.1"]
RNN = [*WIDTH, *WORDS]
LAYERS = ["model.decoder.layers=2", "model.decoder.encoder_layers=1", "model.decoder.heads=6"]
TRANSFORMER = [*WIDTH, *LAYERS, "model.decoder.feed_forward=512", "optimizer.lr=1e-3"]
PRESETS: dict[str, list[str]] = {
    "show_tell": RNN,
    "attn_lstm": RNN,
    "attn_gru": RNN,
    "hard_attn": [*RNN, "objective=hard_attention"],
    "att2in": RNN,
    "updown": RNN,
    "adaptive": RNN,
    "aoa": [
        *WIDTH,
        "model.decoder.embedding=192",
        "model.decoder.dropout=0.1",
        "model.decoder.refiner_layers=1",
    ],
    "transformer": TRANSFORMER,
    "m2": [*TRANSFORMER, "model.decoder.encoder_layers=2", "model.decoder.memory_slots=8"],
    "cvae": [*RNN, "objective=variational", "objective.anneal_epochs=1"],
    # a small language model from nothing: there are no pretrained weights to be had here
    "gpt2": [
        "data/tokenizer=word",
        "model.decoder.weights=null",
        "model.decoder.architecture="
        "{model_type:gpt2,n_layer:2,n_embd:192,n_head:6,n_inner:512,n_positions:64}",
        "model.decoder.trainable=all",
        "model.decoder.heads=6",
        "optimizer.lr=1e-3",
    ],
}


def main() -> None:
    """Run what is not there yet, then measure speed and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="runs/model-families", type=Path)
    parser.add_argument("--jobs", default=2, type=int, help="runs at a time, one core each")
    options = parser.parse_args()
    out = options.out.resolve()
    train_all({out / "encoder": []})
    extract(out / "features", frozen_encoder(out))
    train_all(runs(out), options.jobs, threads=1)
    for script in ("speed.py", "report.py"):
        subprocess.run([sys.executable, str(HERE / script), str(out)], check=True)


def frozen_encoder(out: Path) -> list[str]:
    """Return the overrides of an encoder that the first run trained."""
    weights = out / "encoder" / "checkpoints" / "best.ckpt"
    return [
        "model/encoder=small_cnn",
        override_text("model.encoder.weights", str(weights)),
        "model.encoder.trainable=none",
    ]


def runs(out: Path) -> dict[Path, list[str]]:
    """Return the overrides of each preset's run with each seed, by its folder."""
    common = [
        override_text("data.features", str(out / "features")),
        f"trainer.max_epochs={EPOCHS}",
        "callbacks.gallery=null",
    ]
    return {
        out / f"{preset}-{seed}": [
            *(f"model={preset}", *own, *frozen_encoder(out)),
            *(f"seed={seed}", *common),
        ]
        for seed in SEEDS
        for preset, own in PRESETS.items()
    }


if __name__ == "__main__":
    main()
