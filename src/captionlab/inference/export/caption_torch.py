"""Captions of photographs: python caption_torch.py PHOTO... [--beam N].

It needs torch, numpy and pillow, and the files beside it, which torch.export.load runs: use such a
folder only if you trust who made it.
"""

import argparse
import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

FOLDER = Path(__file__).resolve().parent
PADDING = (124, 116, 104)
BOS, EOS, UNK = 1, 2, 3


def pixels(path: str | Path, size: int, fit: str) -> Tensor:
    """Return an image file as (1, 3, size, size) uint8."""
    with Image.open(path) as file:
        image: Image.Image = file
        least = min(1.0, 2 * size / max(1, min(image.size)))
        image.draft(None, (max(1, round(file.width * least)), max(1, round(file.height * least))))
        with suppress(Exception):  # an EXIF that cannot be read says nothing
            image = ImageOps.exif_transpose(image)
        image = rgb(image)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    height, width = tensor.shape[2:]
    if fit == "stretch":
        return resized(tensor, size, size)
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return resized(tensor[:, :, top : top + side, left : left + side], size, size)
    scale = size / max(height, width)
    small = resized(tensor, max(1, round(height * scale)), max(1, round(width * scale)))
    canvas = torch.tensor(PADDING, dtype=torch.uint8)[None, :, None, None].repeat(1, 1, size, size)
    top, left = (size - small.shape[2]) // 2, (size - small.shape[3]) // 2
    canvas[:, :, top : top + small.shape[2], left : left + small.shape[3]] = small
    return canvas


def rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode in RGB: alpha on white, deep samples scaled to 8 bits."""
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        highest = float(values.max(initial=0.0))
        deep = image.mode.startswith("I;16") or (image.mode == "I" and 255 < highest <= 65535)
        top = (
            65535.0 if deep else 1.0 if image.mode == "F" and highest <= 1 else max(255.0, highest)
        )
        values = (values.clip(0, top) * (255.0 / top)).round().astype(np.uint8)
        return Image.fromarray(values).convert("RGB")
    if image.has_transparency_data:
        colors = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colors.size, "white"), colors).convert("RGB")
    return image.convert("RGB")


def resized(tensor: Tensor, height: int, width: int) -> Tensor:
    """Return images of another size."""
    if tensor.shape[2:] == (height, width):
        return tensor.contiguous()
    return F.interpolate(tensor, (height, width), mode="bilinear", antialias=True).contiguous()


class Program:
    """A program of torch.export: named inputs to named outputs."""

    def __init__(self, name: str, names: dict[str, list[str]]) -> None:
        self.run = torch.export.load(FOLDER / f"{name}.pt2").module()
        self.inputs = names["inputs"]
        self.outputs = [output.replace("present.", "past.", 1) for output in names["outputs"]]
        self.moved = [output for output in self.outputs if output.startswith("past.")]

    def __call__(self, values: dict[str, Any]) -> dict[str, Tensor]:
        """Return the outputs by name, as the next step's inputs are named."""
        return dict(zip(self.outputs, self.run(*(values[n] for n in self.inputs)), strict=True))


class Captioner:
    """The captioner of this folder; ValueError for what it cannot do."""

    def __init__(self, beams: int | None = None) -> None:
        about = json.loads((FOLDER / "captionlab.json").read_text(encoding="utf-8"))
        self.image, self.entry = about["image"], about["torch"]
        self.rules = self.entry["runner"]
        self.beams = beams or self.rules["beams"]
        if self.beams is None:
            raise ValueError(self.rules["reason"].replace("caption.py", "caption_torch.py"))
        self.ids = {piece.strip(): i for i, piece in enumerate(self.rules["pieces"])}
        self.programs = {n: Program(n, names) for n, names in self.entry["programs"].items()}

    def __call__(self, path: str | Path, **asked: str) -> str:
        """Return the caption of a photograph; ``asked``: question, style, language, begin."""
        begun = self.encode(asked.get("begin", ""))
        ids = [*begun, *self.search(path, [BOS, *self.prompt(asked), *begun])]
        pieces = "".join(self.rules["pieces"][i] for i in ids)
        text = pieces.encode("utf-8", "surrogateescape").decode("utf-8", "ignore")
        return " ".join(re.sub(self.rules["unspaced"], "", text).split())

    def prompt(self, asked: dict[str, str]) -> list[int]:
        """Return the ids of what is asked for; of several languages the first is written."""
        ids: list[int] = []
        usual = {"language": next(iter(self.rules["language"]), "")}
        for what in ("language", "style", "question"):
            text, known = asked.get(what) or usual.get(what, ""), self.rules[what]
            name = "answer" if text and what == "question" else text
            if name and name not in known:
                raise ValueError(f"{what} {text!r}: this captioner knows {list(known) or 'none'}")
            ids += self.encode(text, every=False) if what == "question" else []
            ids += known[name] if name else []
        return ids

    def encode(self, text: str, every: bool = True) -> list[int]:
        """Return the ids of words, of which every or any must be known."""
        if re.sub(self.rules["words"], "", text.lower()).strip(" .,;:!?\"'"):
            raise ValueError(f"{text!r} cannot be read here")
        ids = [self.ids.get(word, UNK) for word in re.findall(self.rules["words"], text.lower())]
        if text and not (all if every else any)(i != UNK for i in ids):
            raise ValueError(f"the captioner does not know the words of {text!r}")
        return ids

    @torch.inference_mode()
    def search(self, path: str | Path, prompt: list[int]) -> list[int]:
        """Return the ids of the best caption behind a prompt: beam search, with one beam greedy."""
        values = self.programs["encoder"]({"images": pixels(path, **self.image)})
        values["noise"] = torch.zeros(1, self.beams, self.entry["noise"] or 0)
        for steps, token in enumerate(prompt):
            values["tokens"] = torch.full((1, self.beams), token)
            logits = self.step(values, steps)
        live = torch.tensor([0.0] + [-torch.inf] * (self.beams - 1))
        texts = torch.zeros(self.beams, 0, dtype=torch.long)
        best: list[int] = []
        best_score = -torch.inf
        longest, power = self.rules["max_length"], self.rules["length_penalty"]
        for length in range(1, longest + 1):
            never = self.rules["never"] + [EOS] * (length <= self.rules["min_length"])
            allowed = logits.index_fill(1, torch.tensor(never, dtype=torch.long), -torch.inf)
            scores, ids = allowed.topk(min(self.beams, logits.shape[1]))
            scores = live[:, None] + (scores - logits.logsumexp(1, keepdim=True))
            live, order = scores.nan_to_num(nan=-torch.inf).flatten().topk(self.beams)
            parents, tokens = order // ids.shape[1], ids.flatten()[order]
            texts = torch.cat([texts[parents], tokens[:, None]], 1)
            ended = (tokens == EOS) | (length == longest)
            for score, text in zip(live[ended] / length**power, texts[ended], strict=True):
                if score > best_score:
                    best, best_score = text.tolist(), score
            live = live.masked_fill(ended, -torch.inf)
            if all(
                live.max() / n**power <= best_score for n in (min(length + 1, longest), longest)
            ):
                break
            for name in self.programs["step"].moved:
                values[name] = values[name][:, parents]
            values["tokens"] = tokens[None]
            logits = self.step(values, len(prompt) + length - 1)
        return [token for token in best if token != EOS]

    def step(self, values: dict[str, Any], steps: int) -> Tensor:
        """Return logits (W, V) of the next word; what the step changed is put into the values."""
        longest = self.entry["longest"]
        if longest is not None and steps >= longest:
            raise ValueError(f"a caption is longer than this captioner's {longest} positions")
        values |= {f"past.{name}": steps + more for name, more in self.entry["counters"].items()}
        values |= self.programs["step" if steps else "begin"](values)
        return values["logits"][0].float()


def main() -> int:
    """Print a line for each photograph; return 1 where one had no caption."""
    parser = argparse.ArgumentParser(description="Caption photographs.")
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--beam", type=int, metavar="N", help="1 is greedy")
    for name in ("question", "style", "language", "begin"):
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args())
    if options["beam"] is not None and not 1 <= options["beam"] <= 64:
        parser.error(f"--beam {options['beam']}: say a number from 1 to 64")
    try:
        captioner = Captioner(options.pop("beam"))
    except ValueError as error:
        parser.error(str(error))
    status = 0
    for photo in options.pop("photos"):
        try:
            line = f"{photo}\t{captioner(photo, **options)}"
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            status, reason = 1, getattr(error, "strerror", None) or error
            print(f"error: {photo}: {reason}", file=sys.stderr)
        else:
            print(line, flush=True)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, BrokenPipeError):  # Ctrl-C, or who reads the lines has gone
        os._exit(1)
