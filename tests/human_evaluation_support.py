"""Small studies for tests of blind comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from captionlab.applications.human_evaluation.study import Answer, Study

NAMES = [f"{number:04}.png" for number in range(12)]


def write_captions(file: Path, word: str, names: list[str] = NAMES) -> Path:
    """Write captions as a run's captions.json."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([{"image_id": n, "caption": f"{word} {n[:4]}"} for n in names]))
    return file


def judge_all(study: Study, judge: str, choose: Callable[[str, str], str]) -> int:
    """Let a judge answer until nothing is left; return how many answers that were."""
    count = 0
    while (token := study.deal(judge)) is not None:
        shown = study.showing(token)
        study.answer(shown, Answer(choose(shown.left, shown.right), f"{judge}-{count}"))
        count += 1
    return count


def prefers_alpha(left: str, right: str) -> str:
    return "left" if left.startswith("alpha") else "right"
