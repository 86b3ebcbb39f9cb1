"""Caption photographs with onnxruntime, numpy and pillow: python caption.py photo.jpg [--beam 3]."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, disable_telemetry_events
from PIL import Image, ImageOps

BOS, EOS, UNK = 1, 2, 3  # among the first ids of every vocabulary
disable_telemetry_events()


def load(path: str | Path, size: int) -> np.ndarray:
    """Return a picture of any mode as RGB (h, w, 3) uint8, upright, transparency on white."""
    with Image.open(path) as file:
        scale = min(1.0, 2 * size / min(file.size))  # JPEG can be decoded at a part of its size
        file.draft(None, (max(1, round(file.width * scale)), max(1, round(file.height * scale))))
        img: Image.Image = ImageOps.exif_transpose(file)
        if img.mode[0] in "IF":  # 16 bit and floats are scaled, not clipped
            values = np.nan_to_num(np.asarray(img).astype(np.float64))
            high = values.max(initial=0.0)
            deep = img.mode.startswith("I;16") or (img.mode == "I" and 255 < high <= 65535)
            top = 65535.0 if deep else 1.0 if img.mode == "F" and high <= 1 else max(255.0, high)
            img = Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))
        elif img.has_transparency_data:
            img = Image.alpha_composite(Image.new("RGBA", img.size, "white"), img.convert("RGBA"))
        return np.asarray(img.convert("RGB"))


def resize(image: np.ndarray, *shape: int) -> np.ndarray:
    """Return an image (h, w, 3) uint8 in a shape, as torch does, whose weights have 16 bits."""
    for axis, old, new in ((1, image.shape[1], shape[1]), (0, image.shape[0], shape[0])):
        center, reach = (np.arange(new)[:, None] + 0.5) * (old / new), max(old / new, 1.0)
        share = np.maximum(0, 1 - np.abs((np.arange(old) - center + 0.5) / reach))
        share /= share.sum(1, keepdims=True)
        bits = next(b for b in range(23) if b == 22 or share.max() * 2**b >= 2**14 - 0.25)
        sums = np.tensordot(np.floor(share * 2**bits + 0.5), image.astype(float), (1, axis))
        image = np.moveaxis(np.floor(sums / 2**bits + 0.5).clip(0, 255).astype(np.uint8), 0, axis)
    return image


def square(image: np.ndarray, size: int, fit: str) -> np.ndarray:
    """Return an image (h, w, 3) as (1, 3, size, size): stretched, cropped or padded."""
    sides = np.array(image.shape[:2])
    if fit == "crop":
        image = image[tuple(slice((s - sides.min()) // 2, (s + sides.min()) // 2) for s in sides)]
    if fit == "pad":
        small = resize(image, *np.round(sides * (size / sides.max())).clip(1).astype(int))
        image = np.full((size, size, 3), (124, 116, 104), np.uint8)  # the color of the bars
        top, left = (size - np.array(small.shape[:2])) // 2
        image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return np.ascontiguousarray(resize(image, size, size).transpose(2, 0, 1))[None]


class Captioner:
    """The captioner of an exported folder; ValueError for what it cannot do."""

    def __init__(self, folder: str | Path) -> None:
        manifest = json.loads(Path(folder, "captionlab.json").read_text(encoding="utf-8"))
        self.image, self.onnx = manifest["image"], manifest["onnx"]
        self.rules, graphs = self.onnx["runner"], self.onnx["graphs"]
        self.ids = {piece.strip(): i for i, piece in enumerate(self.rules["pieces"])}
        self.graphs = {n: InferenceSession(str(Path(folder, f"{n}.onnx"))) for n in graphs}

    def __call__(self, path: str, beams: int | None = None, **asked: str) -> str:
        """Return the caption of a photograph; ``asked``: question, style, language, begin."""
        beams, begun = beams or self.rules["beams"], self.encode(asked.get("begin", ""))
        if beams is None:
            raise ValueError(self.rules["reason"])
        prompt, usual = [BOS], {"language": next(iter(self.rules["language"]), "")}
        for what in ("language", "style", "question"):
            text, known = asked.get(what) or usual.get(what, ""), self.rules[what]
            name = "answer" if text and what == "question" else text
            if name and name not in known:
                raise ValueError(f"{what} {text!r}: this captioner knows {list(known) or 'none'}")
            prompt += (self.encode(text, False) if what == "question" else []) + known.get(name, [])
        ids = begun + self.search(path, prompt + begun, beams)
        text = "".join(self.rules["pieces"][i] for i in ids).encode("utf-8", "surrogateescape")
        return " ".join(re.sub(self.rules["unspaced"], "", text.decode("utf-8", "ignore")).split())

    def encode(self, text: str, every: bool = True) -> list[int]:
        """Return the ids of words, of which every or any must be known."""
        rest = re.sub(self.rules["words"], "", text.lower()).strip(" .,;:!?\"'")
        ids = [self.ids.get(word, UNK) for word in re.findall(self.rules["words"], text.lower())]
        if rest or (text and not (all if every else any)(i != UNK for i in ids)):
            raise ValueError(f"{text!r}: caption.py, or the captioner, does not know these words")
        return ids

    def run(self, name: str, **state: np.ndarray) -> dict[str, np.ndarray]:
        """Return a graph's outputs by name; of ``state`` it takes what it reads."""
        graph = self.graphs[name]
        names = [value.name.replace("present.", "past.") for value in graph.get_outputs()]
        inputs = {value.name: state[value.name] for value in graph.get_inputs()}
        return dict(zip(names, graph.run(None, inputs), strict=True))

    def search(self, path: str, prompt: list[int], beams: int) -> list[int]:
        """Return the ids of the best caption (beam search; one beam is greedy)."""
        state = self.run("encoder", images=square(load(path, self.image["size"]), **self.image))
        state["noise"] = np.zeros((1, 1, self.onnx["noise"] or 0), np.float32)
        captions, live, best = [prompt], np.zeros(1, np.float32), (-np.inf, prompt)
        rules, most, power = self.rules, self.rules["max_length"], self.rules["length_penalty"]
        for count in range(len(prompt) + most - 1):
            state["tokens"] = np.array([[caption[count] for caption in captions]])
            state |= {f"past.{n}": np.array(count + k) for n, k in self.onnx["counters"].items()}
            state |= self.run("step" if count else "begin", **state)
            length = count + 2 - len(prompt)
            if length < 1:
                continue  # the prompt is read
            allowed = state["logits"][0] - state["logits"][0].max(1, keepdims=True)
            allowed -= np.log(np.exp(allowed).sum(1, keepdims=True))
            allowed[:, rules["never"] + [EOS] * (length <= rules["min_length"])] = -np.inf
            scores = (live[:, None] + allowed).ravel()
            order = np.argsort(-scores, kind="stable")[:beams]
            parents, tokens = np.divmod(order, allowed.shape[1])
            grown = [[*captions[p], int(t)] for p, t in zip(parents, tokens, strict=True)]
            going = (tokens != EOS) & (length < most) & (scores[order] > -np.inf)
            done = [(scores[order[i]] / length**power, grown[i]) for i in np.flatnonzero(~going)]
            best = max(best, *done, key=lambda scored: scored[0]) if done else best
            captions, live = [grown[i] for i in np.flatnonzero(going)], scores[order[going]]
            if not captions or max(live[0] / n**power for n in (length + 1, most)) <= best[0]:
                break
            state |= {name: state[name][:, parents[going]] for name in self.onnx["moved"]}
        return [token for token in best[1][len(prompt) :] if token != EOS]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--beam", dest="beams", type=int, metavar="N", help="1 is greedy")
    for name in ("question", "style", "language", "begin"):
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args())
    if options["beams"] is not None and not 1 <= options["beams"] <= 64:
        parser.error(f"--beam {options['beams']}: say a number from 1 to 64")
    captioner, status = Captioner(Path(__file__).parent), 0
    for photo in options.pop("photos"):
        try:
            print(photo, captioner(photo, **options), sep="\t", flush=True)
        except (KeyboardInterrupt, BrokenPipeError):  # Ctrl-C, or who reads the lines has gone
            os._exit(1)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            status, reason = 1, getattr(error, "strerror", None) or error
            print(f"error: {photo}: {reason}", file=sys.stderr)
    sys.exit(status)
