"""The process of another revision: questions come as JSON lines, and so do the answers."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import torch

from measuring.clock import Timed
from measuring.ours import operation
from measuring.work import Work


def main() -> None:
    # libraries that print must not disturb the answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    side: Timed | None = None
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any]
        try:
            if "prepare" in question:
                side = None
                side, answer = prepare(Work.from_dict(question["prepare"]))
            else:
                assert side is not None
                sample = side()
                answer = {"cpu": sample.cpu, "wall": sample.wall}
        except Exception as error:
            # an interface that this revision lacks may fail in any way
            answer = {"cannot": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
        answers.write(json.dumps(answer) + "\n")


def prepare(work: Work) -> tuple[Timed, dict[str, Any]]:
    """Return this revision's side of a work, and what is to know of it."""
    torch.set_num_threads(work.threads)
    ours = operation(work)
    ours.run()  # what cannot be done is found out here
    captions = None if ours.captions is None else ours.captions()
    side = Timed(ours.run, work.device, ours.overhead, ours.cpu)
    return side, {"parameters": ours.parameters, "captions": captions}


if __name__ == "__main__":
    main()
