"""Seconds a step of each objective, against cross-entropy's on the same batches, in one run.

    python benchmarks/objectives.py [--warm-up 150] [--steps 10] [--batch-size 64] [--device cpu]

One captioner learns the built-in data by cross-entropy until its captions have their usual length;
every objective then takes the same steps from there, on the encoder's memory, in turns.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from captionlab.build import Sizes, build_captioner, build_data
from captionlab.config.compose import compose
from captionlab.config.resolve import resolve
from captionlab.data.dataset import CaptionBatch
from captionlab.training.build import build_module, training_text

POLICY = ["objective=adversarial", "objective.warm_up_steps=0"]
GUMBEL = [*POLICY, "objective.adversarial=1", "objective.estimator=gumbel"]
OBJECTIVES = {
    "cross_entropy": [],
    "self_critical": ["objective=self_critical"],
    "self_critical, greedy baseline": ["objective=self_critical", "objective.baseline=greedy"],
    "adversarial, policy, matching": [*POLICY, "objective/discriminator=matching"],
    "adversarial, policy, cnn": POLICY,
    "adversarial, policy, set": [*POLICY, "objective/discriminator=set"],
    "adversarial, policy, cnn, 1 roll-out": [*POLICY, "objective.rollouts=1"],
    "adversarial, policy, cnn, WGAN-GP": [*POLICY, "objective.loss=wgan"],
    "adversarial, gumbel, cnn": GUMBEL,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--warm-up", type=int, default=150)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    known = parser.parse_args()
    torch.manual_seed(0)
    shared = [
        f"data.batch_size={known.batch_size}",
        f"data.source.train_size={known.batch_size * known.steps}",
        "data.captions_per_image=5",
        "data.tokenizer.threshold=1",
    ]
    config = resolve(compose([*shared, "output_dir=."]))
    data = build_data(config["data"])
    data.setup("fit")
    captioner = build_captioner(config["model"], Sizes.of(data.tokenizer)).to(known.device).train()
    batches = [batch.to(known.device) for batch in data.train_dataloader()]
    first = Steps(config, data, captioner)
    for step in range(known.warm_up):
        first(batches[step % len(batches)])
    with torch.no_grad():
        batches = [replace(batch, images=captioner.encode(batch.images)) for batch in batches]
    kinds = {
        name: Steps(resolve(compose([*shared, *own, "output_dir=."])), data, captioner)
        for name, own in OBJECTIVES.items()
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for batch in batches:
        for name, steps in kinds.items():
            times[name].append(steps(batch))
    reference = statistics.median(times["cross_entropy"][1:])
    print(f"{known.batch_size} images a step, 5 captions each, on {known.device}")
    for name, taken in times.items():
        median = statistics.median(taken[1:])  # the first step builds things
        print(
            f"{name:38} {1e3 * median:8.1f} ms a step {median / reference:6.2f} times cross-entropy"
        )


class Steps:
    """A copy of the captioner that one objective trains."""

    def __init__(self, config: dict[str, Any], data: Any, captioner: torch.nn.Module) -> None:
        self.captioner = copy.deepcopy(captioner)
        module = build_module(config, data, [self.captioner], {})
        self.objective = module.objective
        self.objective.on_fit_start(training_text(data), {})
        self.optimizer = torch.optim.AdamW(self.captioner.parameters(), lr=2e-3)

    def __call__(self, batch: CaptionBatch) -> float:
        """Take a step; return its seconds."""
        start = time.perf_counter()
        loss, _ = self.objective(self.captioner, batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.objective.on_before_optimizer_step()
        if batch.tokens.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
