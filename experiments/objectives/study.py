"""Trains the same captioner further with every objective, from one start a seed; resumable.

    python experiments/objectives/study.py [--out runs/objectives] [--jobs 2] [--real FLICKR8K]

For each seed one default run (cross-entropy) is the start; its encoder's memory is stored, and each
objective goes on from its weights with the same budget. A conditional variational captioner, which has
other weights, learns to speak anew on the same memory, as many epochs as start and continuation
together. At the end every model is scored twice by ``captionlab evaluate``, as usual and with five
captions drawn at temperature 0.5, speed.py measures a step of each objective, and report.py writes
table and figure. ``--real`` does the same with one seed on a part of Flickr8k
(experiments/flickr8k-sample).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from running import evaluate_all, extract, run  # noqa: E402

from captionlab.config.override_syntax import override_text  # noqa: E402
from captionlab.sweeps.launch import train_all  # noqa: E402

SEEDS = (1, 2, 3)
START_EPOCHS, EPOCHS = 5, 2
REAL_START_EPOCHS, REAL_EPOCHS = 10, 6
POLICY = ["objective=adversarial", "objective.adversarial=1.0"]
# straight-through gradients are large: at likelihood 0.5 they cost a fifth of the truth
GUMBEL = [*POLICY, "objective.estimator=gumbel", "objective.likelihood=2.0"]
SET = ["objective/discriminator=set", "data.captions_per_image=5"]
OBJECTIVES: dict[str, list[str]] = {
    "longer": ["objective=cross_entropy"],
    "scst_greedy": ["objective=self_critical", "objective.baseline=greedy"],
    "scst_leave_one_out": ["objective=self_critical"],
    "scst_moving_average": ["objective=self_critical", "objective.baseline=moving_average"],
    "scst_truth": ["objective=self_critical", "objective/reward=truth"],
    "scst_and_likelihood": ["objective=self_critical", "objective.likelihood=1.0"],
    "gan_gumbel_matching": [*GUMBEL, "objective/discriminator=matching"],
    "gan_gumbel_cnn": [*GUMBEL, "objective/discriminator=cnn"],
    "gan_gumbel_set": [*GUMBEL, *SET, "objective.likelihood=5.0"],
    "gan_policy_cnn": [*POLICY, "objective/discriminator=cnn"],
    "gan_policy_set_cider": [*POLICY, *SET, "objective.adversarial=0.8"],
}
CVAE = [
    "model=cvae",
    "model.decoder.hidden=192",
    "model.decoder.embedding=128",
    "model.decoder.dropout=0.1",
    "objective=variational",
    "objective.anneal_epochs=1",
]
SCORINGS: dict[str, list[str]] = {
    "scores": [],
    "sharper": [
        "decoding=sampling",
        "decoding.num_samples=5",
        "decoding.num_captions=null",  # those drawn twice too
        "decoding.temperature=0.5",
        "decoding.seed=1",
    ],
}


@dataclass(frozen=True)
class Study:
    """Every run of the study, in ``out``, on the built-in data or on photographs of Flickr8k."""

    out: Path
    flickr8k: Path | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all runs."""
        return (1,) if self.flickr8k else SEEDS

    @property
    def data(self) -> list[str]:
        """The overrides that choose the data."""
        if self.flickr8k is None:
            return []
        return ["experiment=flickr8k_sample", override_text("data.root", str(self.flickr8k))]

    def starts(self) -> dict[Path, list[str]]:
        """Return the overrides of the run that each seed's others start from, by its folder."""
        first = [*self.data, f"trainer.max_epochs={REAL_START_EPOCHS}"] if self.flickr8k else []
        return {self.start(seed): [*first, f"seed={seed}"] for seed in self.seeds}

    def start(self, seed: int) -> Path:
        """Return the folder of a seed's first run."""
        return self.out / f"start-{seed}"

    def features(self, seed: int) -> Path:
        """Return the folder of what a seed's encoder sees."""
        return self.out / f"features-{seed}"

    def frozen_encoder(self, seed: int) -> list[str]:
        """Return the overrides of the data and the encoder that a seed's first run trained."""
        weights = override_text("model.encoder.weights", str(best(self.start(seed))))
        return [*self.data, weights, "model.encoder.trainable=none"]

    def continuations(self) -> dict[Path, list[str]]:
        """Return the overrides of each objective's run with each seed, by its folder."""
        return {
            folder: overrides
            for seed in self.seeds
            for folder, overrides in self._continuations(seed).items()
        }

    def _continuations(self, seed: int) -> dict[Path, list[str]]:
        shared = [
            *self.frozen_encoder(seed),
            override_text("data.features", str(self.features(seed))),
            f"seed={seed}",
            "callbacks.gallery=null",
        ]
        further = [
            override_text("init_from", str(best(self.start(seed)))),
            f"trainer.max_epochs={REAL_EPOCHS if self.flickr8k else EPOCHS}",
            "optimizer.lr=2e-4",
            "scheduler=constant",
        ]
        runs = {}
        for name, own in OBJECTIVES.items():
            if self.flickr8k and name == "scst_truth":
                continue  # only the built-in data knows what is true
            short = ["objective.warm_up_steps=24"] if self.flickr8k and "gan" in name else []
            runs[self.out / f"{name}-{seed}"] = [*shared, *own, *short, *further]
        epochs = REAL_START_EPOCHS + REAL_EPOCHS if self.flickr8k else START_EPOCHS + EPOCHS
        encoder = "resnet18" if self.flickr8k else "small_cnn"
        anew = [f"model/encoder={encoder}", f"trainer.max_epochs={epochs}"]
        runs[self.out / f"cvae-{seed}"] = [*shared, *CVAE, *anew]
        return runs


def best(folder: Path) -> Path:
    """Return the best checkpoint of a run."""
    return folder / "checkpoints" / "best.ckpt"


def main() -> None:
    """Run what is not there yet, then score every run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="runs/objectives", type=Path)
    parser.add_argument("--jobs", default=2, type=int, help="runs at a time, one core each")
    parser.add_argument("--real", type=Path, help="folder of Flickr8k: study its photographs")
    options = parser.parse_args()
    study = Study(options.out.resolve(), options.real.resolve() if options.real else None)
    starts = study.starts()
    train_all(starts, options.jobs, threads=1)
    for seed in study.seeds:
        extract(study.features(seed), study.frozen_encoder(seed))
    continuations = study.continuations()
    train_all(continuations, options.jobs, threads=1)
    evaluate_all(
        [
            (best(folder), folder / name, how)
            for folder in (*starts, *continuations)
            for name, how in SCORINGS.items()
        ],
        options.jobs,
    )
    run([str(HERE / "speed.py"), str(study.out)], "speed.py", 1)
    report = [str(HERE / "report.py"), str(study.out), *(["real"] if study.flickr8k else [])]
    run(report, "report.py", None)


if __name__ == "__main__":
    main()
