"""What studies do beside training (captionlab.sweeps): storing features, scoring checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def evaluate_all(jobs: list[tuple[Path, Path, list[str]]], at_a_time: int) -> None:
    """Score checkpoints on the test split (checkpoint, folder of the scores, overrides), one core each."""

    def evaluate(job: tuple[Path, Path, list[str]]) -> None:
        checkpoint, out, overrides = job
        if not (out / "results.json").exists():
            command = ["-m", "captionlab.cli.main", "evaluate", str(checkpoint)]
            run([*command, "meteor=false", *overrides, "--out", str(out)], f"evaluate {out}", 1)

    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(evaluate, jobs))


def extract(store: Path, overrides: list[str]) -> None:
    """Store what the encoder sees of every picture (goes on where it stopped by itself)."""
    if not (store / "index.json").exists():
        run(
            ["-m", "captionlab.cli.main", "extract", *overrides, f"out={store}"],
            "extract",
            None,
        )


def run(command: list[str], name: str, threads: int | None) -> None:
    """Run a Python command in the project's folder; a failing one is named and ends the study."""
    environment = dict(os.environ)
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
