"""Predict: captions for anyone's photos, in batches; one bad file does not stop the rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from captionlab.cli.progress import progress
from captionlab.cli.streams import has_reader
from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError, first_line
from captionlab.core.files import replacing, require_file_place
from captionlab.data.images.files import BrokenImage
from captionlab.data.images.formats import PICTURE_ENDINGS, is_picture, is_undecoded
from captionlab.data.readers.files import nearest
from captionlab.decoding.captions import all_captions
from captionlab.inference.calibrated import require_calibration
from captionlab.inference.loaded import LoadedCaptioner, load_captioner
from captionlab.inference.precision import Precision, computing, require_precision
from captionlab.metrics.calibration import Calibration
from captionlab.text.prompts import NO_PROMPT, Prompt

ASKED = ("question", "style", "language")
ASK_FOR = {"questions": "--ask QUESTION", "styles": "--style NAME"}
LINES_ENDINGS = (".jsonl", ".ndjson", "")  # none: a pipe, /dev/stdout
NOT_SURE = "I am not sure"
WORTH_FOLDING = 8  # images


@dataclass(frozen=True)
class Abstention:
    """Holds captions back whose calibrated chance of being right is below ``least``."""

    calibration: Calibration
    least: float


@dataclass(frozen=True)
class WrittenCaption:
    """A caption, what it was ranked by, and its chance of being right, None where nobody asked."""

    text: str
    score: float
    probability: float | None = None

    def entry(self) -> dict[str, Any]:
        """Return it as JSON lines have it."""
        entry: dict[str, Any] = {"caption": self.text, "score": round(self.score, 4)}
        if self.probability is not None:
            entry["probability"] = round(self.probability, 4)
        return entry


def predict(
    checkpoint: str,
    paths: Sequence[str],
    *,
    out: str | None = None,
    batch_size: int = 64,
    device: str = "auto",
    overrides: Sequence[str] = (),
    others: Sequence[str] = (),
    trust: Sequence[str] = (),
    prompt: Prompt = NO_PROMPT,
    abstain: float | None = None,
    precision: Precision = "32",
) -> int:
    """Caption images; return 0, or 1 if some file could not be read (each is named).

    ``others`` are checkpoints that write together with the first one; ``trust`` are classes, or
    packages, that they may name beside captionlab's own; ``prompt`` is what is asked of each image.
    Captions whose chance of being right is below ``abstain`` are not given. ``precision`` bf16 computes in
    bfloat16 where that may be.

    Raises:
        UserError: if the checkpoint, the device, a path or ``out`` is wrong; nothing is written then.
    """
    if batch_size < 1:
        raise UserError(f"--batch-size {batch_size} must be at least 1.")
    abstention = None if abstain is None else _abstention(checkpoint, abstain, others)
    images = find_images(paths)
    target = None if out is None else lines_place(out)
    captioner = load_captioner(
        [checkpoint, *others], device=choose_device(device), decoding=overrides, trust=trust
    )
    require_precision(precision, [captioner.captioner, *captioner.others])
    if len(images) >= WORTH_FOLDING:
        captioner.fold()
    for what in captioner.tokenizer.unasked([prompt]):
        print(f"note: this captioner was trained with {what}: {ASK_FOR[what]}", file=sys.stderr)
    if abstention is not None:
        _note_other_settings(abstention.calibration, captioner, prompt)
    if target is None:
        with computing(precision, captioner.device):
            return _caption(captioner, images, prompt, batch_size, None, abstention)
    with (
        computing(precision, captioner.device),
        replacing(target) as temporary,
        # half a surrogate, of a file's name that is no UTF-8, is written as JSON escapes it
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        return _caption(captioner, images, prompt, batch_size, file, abstention)


def lines_place(out: str) -> Path:
    """Return where JSON lines are written.

    Raises:
        UserError: if nothing can be written there, or its name is that of another kind of file.
    """
    target = require_file_place(out, "--out ")
    if target.suffix.lower() not in LINES_ENDINGS:
        raise UserError(
            f"--out {out}: JSON lines are written, and no {target.suffix}: say "
            f"--out {target.with_suffix('.jsonl')}"
        )
    return target


def find_images(paths: Sequence[str]) -> list[Path]:
    """Return the files named, and the image files below the folders named, sorted within each.

    Raises:
        UserError: if a path does not exist, or a folder holds no image.
    """
    images: list[Path] = []
    for given in paths:
        require_local(given)
        path = Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_picture(p) or is_undecoded(p))
            if not inside:
                endings = ", ".join(sorted(PICTURE_ENDINGS))
                raise UserError(f"The folder {path} holds no image ({endings}).")
            images += inside
        elif path.exists():
            images.append(path)
        else:
            raise UserError(f"There is no file or folder {path}: {nearest(path)}.")
    return images


def choose_device(name: str) -> str:
    """Return a torch device's name; "auto" takes a GPU where there is one.

    Raises:
        UserError: if torch has no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise UserError(
            f"--device {name} cannot be used here ({reason}); say auto or cpu."
        ) from error
    return name


def _caption(
    captioner: LoadedCaptioner,
    images: list[Path],
    prompt: Prompt,
    batch_size: int,
    file: TextIO | None,
    abstention: Abstention | None,
) -> int:
    broken: list[BrokenImage] = []
    with progress("captioning", len(images)) as advance:
        for count, readable in _batches(captioner, images, batch_size, broken):
            if file is None and not has_reader():
                break  # captionlab predict ... | head -1
            if readable:
                prepared = torch.stack([i for _, i in readable])
                captions_each = _captions(captioner, prepared, prompt, abstention)
                for (path, _), captions in zip(readable, captions_each, strict=True):
                    _write(file, path, prompt, captions, abstention)
            advance(count)
    for error in broken:
        print(f"error: {error}", file=sys.stderr)
    if broken:
        print(f"{len(broken)} of {len(images)} images could not be read", file=sys.stderr)
    return 1 if broken else 0


def _batches(
    captioner: LoadedCaptioner, images: list[Path], batch_size: int, broken: list[BrokenImage]
) -> Iterator[tuple[int, list[tuple[Path, Tensor]]]]:
    """Yield the size of each batch and what of it can be read; the next is read in the meantime."""
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    with ThreadPoolExecutor(1, "captionlab-read") as reader:
        following = reader.submit(_read, captioner, batches[0])
        for number, paths in enumerate(batches, 1):
            readable, refused = following.result()
            if number < len(batches):
                following = reader.submit(_read, captioner, batches[number])
            broken += refused
            yield len(paths), readable


def _read(
    captioner: LoadedCaptioner, paths: list[Path]
) -> tuple[list[tuple[Path, Tensor]], list[BrokenImage]]:
    readable, refused = [], []
    for path in paths:
        try:
            readable.append((path, captioner.prepare(path)))
        except BrokenImage as error:
            refused.append(error)
    return readable, refused


def _captions(
    captioner: LoadedCaptioner, images: Tensor, prompt: Prompt, abstention: Abstention | None
) -> list[list[WrittenCaption]]:
    _, generated = captioner.generate(images, prompt)
    tokenizer = captioner.tokenizer
    captions = all_captions(generated, tokenizer, tokenizer.encode(prompt.beginning))
    if abstention is None:
        return [[WrittenCaption(*one) for one in several] for several in captions]
    # captions that an image has not come last
    chances = abstention.calibration.probabilities(
        generated.log_probs.flatten().tolist(), generated.lengths.flatten().tolist()
    ).reshape(generated.lengths.shape)
    return [
        [WrittenCaption(*one, chance) for one, chance in zip(several, row, strict=False)]
        for several, row in zip(captions, chances.tolist(), strict=True)
    ]


def _write(
    file: TextIO | None,
    path: Path,
    prompt: Prompt,
    captions: list[WrittenCaption],
    abstention: Abstention | None,
) -> None:
    sure = captions
    if abstention is not None:
        sure = [one for one in captions if (one.probability or 0.0) >= abstention.least]
    given = sure or [replace(captions[0], text=NOT_SURE)]
    if file is None:
        for one in given:
            print(f"{path}\t{one.text}", flush=True)
        return
    asked = {key: value for key in ASKED if (value := getattr(prompt, key))}
    line: dict[str, Any] = {"image": str(path), **asked, **given[0].entry()}
    if abstention is not None:
        line["abstained"] = not sure
    if len(sure) > 1:
        line["captions"] = [one.entry() for one in sure]
    file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _abstention(checkpoint: str, least: float, others: Sequence[str]) -> Abstention:
    if not 0 <= least <= 1:
        raise UserError(f"--abstain {least:g} is a chance of being right: say a number from 0 to 1")
    if others:
        raise UserError(
            "--abstain: how sure an ensemble is was measured for none of its checkpoints alone; "
            "leave --with out"
        )
    return Abstention(require_calibration(checkpoint, "--abstain"), least)


def _note_other_settings(
    calibration: Calibration, captioner: LoadedCaptioner, prompt: Prompt
) -> None:
    """Say it where captions are made otherwise than those that the chances were fitted to."""
    fitted = calibration.facts.get("decoding")
    differing = []
    if isinstance(fitted, dict) and fitted != dict(captioner.config["decoding"]):
        differing.append("another decoding (captionlab calibrate takes decoding=... too)")
    if prompt.beginning:
        differing.append("captions without a beginning")
    for one in differing:
        print(f"note: the chances for --abstain were fitted to {one}", file=sys.stderr)
