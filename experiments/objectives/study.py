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
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from running import evaluate_all, extract, run, train_all  # noqa: E402

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


def main() -> None:
    """Run what is not there yet, then score every run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="runs/objectives", type=Path)
    parser.add_argument("--jobs", default=2, type=int, help="runs at a time, one core each")
    parser.add_argument("--real", type=Path, help="folder of Flickr8k: study its photographs")
    known = parser.parse_args()
    known.out = known.out.resolve()
    seeds, data, epochs, objectives = SEEDS, [], EPOCHS, dict(OBJECTIVES)
    if known.real:
        seeds, epochs = (1,), REAL_EPOCHS
        data = ["experiment=flickr8k_sample", f"data.root={known.real.resolve()}"]
        del objectives["scst_truth"]  # only the built-in data knows what is true
    starts = {seed: known.out / f"start-{seed}" for seed in seeds}
    first = [*data, f"trainer.max_epochs={REAL_START_EPOCHS}"] if known.real else []
    train_all([(folder, [*first, f"seed={seed}"]) for seed, folder in starts.items()], known.jobs)
    jobs = []
    for seed, start in starts.items():
        weights = start / "checkpoints" / "best.ckpt"
        store = known.out / f"features-{seed}"
        frozen = [*data, f"model.encoder.weights={weights}", "model.encoder.trainable=none"]
        extract(store, frozen)
        shared = [*frozen, f"data.features={store}", f"seed={seed}", "callbacks.gallery=null"]
        further = [
            f"init_from={weights}",
            f"trainer.max_epochs={epochs}",
            "optimizer.lr=2e-4",
            "scheduler=constant",
        ]
        for name, own in objectives.items():
            short = ["objective.warm_up_steps=24"] if known.real and "gan" in name else []
            jobs.append((known.out / f"{name}-{seed}", [*shared, *own, *short, *further]))
        whole = REAL_START_EPOCHS + REAL_EPOCHS if known.real else START_EPOCHS + EPOCHS
        encoder = "resnet18" if known.real else "small_cnn"
        anew = [f"model/encoder={encoder}", f"trainer.max_epochs={whole}"]
        jobs.append((known.out / f"cvae-{seed}", [*shared, *CVAE, *anew]))
    train_all(jobs, known.jobs)
    evaluate_all(
        [
            (folder / "checkpoints" / "best.ckpt", folder / name, how)
            for folder in (*starts.values(), *(folder for folder, _ in jobs))
            for name, how in SCORINGS.items()
        ],
        known.jobs,
    )
    run([str(HERE / "speed.py"), str(known.out)], "speed.py", 1)
    report = [str(HERE / "report.py"), str(known.out), *(["real"] if known.real else [])]
    run(report, "report.py", None)


if __name__ == "__main__":
    main()
