"""Measures what a step of each objective of the study takes, alone on the machine, on one core.

    python experiments/objectives/speed.py RUNS

For each objective the first seed's run is rebuilt, with its data and its best weights, and takes a few
steps more; the warm-up of a discriminator is over by then. The start, which learns from images and not
from stored features, is left out. Writes RUNS/speed.json: seconds a step, the median and the quartiles.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

from captionlab.build import build_data
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.training.build import build_module, training_text

STEPS = 12


def main() -> None:
    """Measure every objective in turn."""
    out = Path(sys.argv[1])
    seconds = {}
    for run in sorted(out.glob("*-1/checkpoints/best.ckpt")):
        name = run.parent.parent.name.removesuffix("-1")
        if name == "start":
            continue
        seconds[name] = measure(run)
        print(name, seconds[name], flush=True)
    (out / "speed.json").write_text(json.dumps(seconds, indent=1) + "\n")


def measure(path: Path) -> list[float]:
    """Return the median and the quartiles of a step of the run that wrote this checkpoint."""
    stored = read_checkpoint(path)
    config = dict(stored.config)
    if "warm_up_steps" in config["objective"]:
        config["objective"] = {**config["objective"], "warm_up_steps": 0}
    data = build_data(config["data"])
    data.tokenizer = stored.tokenizer
    data.setup("fit")
    captioner = captioner_of(stored).train()
    module = build_module(config, data, [captioner], {})
    objective = module.objective
    objective.on_fit_start(training_text(data), {})
    objective.on_train_batch_start(1.0)
    optimizer = module.new_optimizer([p for p in captioner.parameters() if p.requires_grad])
    times = []
    for batch in islice(data.train_dataloader(), STEPS + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        objective(captioner, batch)[0].backward()
        optimizer.step()
        objective.on_before_optimizer_step()
        times.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(times[1:], n=4)  # the first one builds things
    return [middle, low, high]


if __name__ == "__main__":
    main()
