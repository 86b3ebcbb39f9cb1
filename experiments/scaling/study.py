"""Two processes against one on a CPU, and a sweep that is killed and goes on; resumable.

    python experiments/scaling/study.py [--out runs/scaling]

Trains the default model with one process on two cores and with two processes of one core each, scores
the checkpoint with one, two and three processes. Then starts
a sweep of twelve jobs, two at a time, kills the whole of it, and starts it again. Writes results.json
here and the sweep's transcript beside the runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from captionlab.sweeps.launch import train_all

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SIZE = ["data.source.train_size=8000", "data.tokenizer.threshold=2", "meteor=false"]
RUNS = {
    "one process, two threads": (["trainer=cpu"], 2),
    "two processes, one thread each": (["trainer=ddp_cpu"], 1),
    "one process, one thread": (["trainer=cpu"], 1),
}
SWEEP = [
    *("hydra/launcher=process", "hydra.launcher.at_a_time=2"),
    *("data.source.train_size=512", "data.source.val_size=100", "data.source.test_size=100"),
    *("data.tokenizer.threshold=2", "meteor=false", "trainer=cpu", "trainer.max_epochs=3"),
    *("seed=1,2,3", "optimizer.lr=1e-3,3e-3", "model.decoder.hidden=64,128"),
]


def main() -> None:
    """Run what is not there yet, and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/scaling", type=Path)
    out = parser.parse_args().out.resolve()
    results = {"training": training(out), "scores": scores(out), "sweep": sweep(out)}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def run(arguments: list[str], threads: int) -> None:
    """Run a Python command with so many threads a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True)


def training(out: Path) -> dict[str, dict[str, float]]:
    """Train for two epochs each way; return captions a second in the second one, and scores."""
    measured = {}
    for name, (how, threads) in RUNS.items():
        folder = out / name.replace(",", "").replace(" ", "-")
        # one after the other: they are timed
        train_all({folder: [*SIZE, *how, "trainer.max_epochs=2"]}, threads=threads)
        with (folder / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        test_scores = json.loads((folder / "results.json").read_text())
        measured[name] = {
            # two captions an image (data.captions_per_image)
            "captions a second": 2 * 8000 / float(rows[1]["train/seconds"]),
            "val/loss": float(rows[1]["val/loss"]),
            "val/cider": float(rows[1]["val/cider"]),
            "test/cider": test_scores["test/cider"],
        }
    return measured


def scores(out: Path) -> dict[str, dict[str, float]]:
    """Score one checkpoint with one, two and three processes; return the largest differences."""
    best = out / "one-process-two-threads" / "checkpoints" / "best.ckpt"
    results = {}
    for devices in (1, 2, 3):
        folder = out / f"scored-by-{devices}"
        if not (folder / "results.json").exists():
            how = [
                "trainer=cpu",
                f"trainer.devices={devices}",
                "meteor=false",
                "--out",
                str(folder),
            ]
            run(["-m", "captionlab.cli.main", "evaluate", str(best), *how], 1)
        stored = json.loads((folder / "results.json").read_text())
        captions = (folder / "captions.json").read_text()
        results[devices] = ({k: v for k, v in stored.items() if k != "intervals"}, captions)
    first, first_captions = results[1]
    return {
        f"{devices} processes": {
            "scores": len(own),
            "captions equal": float(captions == first_captions),
            "largest difference, without the loss": max(
                abs(own[name] - first[name]) for name in own if not name.endswith("/loss")
            ),
            "difference of the loss": abs(own["test/loss"] - first["test/loss"]),
        }
        for devices, (own, captions) in results.items()
        if devices > 1
    }


def sweep(out: Path) -> dict[str, float]:
    """Start a sweep of twelve jobs, kill it with all its processes, and start it again."""
    folder, transcript = out / "sweep", out / "sweep.txt"
    where = os.path.relpath(folder, ROOT)
    command = [sys.executable, "train.py", "-m", *SWEEP, f"hydra.sweep.dir={where}"]
    if not transcript.exists():
        with transcript.open("w") as log:
            # a session of its own, so that all of it can be killed as a lost machine would
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            while len(list(folder.glob("*/results.json"))) < 4:
                time.sleep(0.2)
            while not list(folder.glob("[45]/checkpoints/last.ckpt")):
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log.write("\n(killed; the same command again)\n\n")
            log.flush()
            subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=True)
    text = transcript.read_text()
    return {
        "jobs finished": len(list(folder.glob("*/results.json"))),
        "kept from before": text.count("finished before"),
        "went on": text.count("goes on"),
        "trained once": text.count("begins"),
    }


if __name__ == "__main__":
    main()
