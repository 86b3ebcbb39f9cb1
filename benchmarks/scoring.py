"""Time of scoring a split: captionlab (references prepared) against pycocoevalcap, in one run.

    python benchmarks/scoring.py [--captions Flickr8k.token.txt] [--held-out 0] [--meteor]

One human caption of each image is the candidate, the other four are the references. captionlab's
time is that of every epoch after the first: tokenizing captions it has never seen, BLEU, ROUGE-L
and CIDEr, for the split and for each image. pycocoevalcap's is PTBTokenizer, Bleu, Rouge and Cider;
it tokenizes the references every time, so the ratio without that is printed too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from captionlab.metrics import Meteor, SplitScorer
from captionlab.metrics.references import ImageId
from captionlab.text.ptb import ptb_tokens

DEFAULT = Path(__file__).resolve().parents[1] / "../shared/data/flickr8k/Flickr8k.token.txt"
Captions = dict[str, list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--captions", type=Path, default=DEFAULT)
    parser.add_argument("--held-out", type=int, default=0, choices=range(5))
    parser.add_argument("--meteor", action="store_true", help="time METEOR too (needs Java)")
    arguments = parser.parse_args()
    if not arguments.captions.is_file():
        sys.exit(f"no such file: {arguments.captions}; give Flickr8k's caption file by --captions")
    held_out = arguments.held_out
    captions = read(arguments.captions)
    candidates = {i: texts[held_out] for i, texts in captions.items()}
    references = {
        i: [t for n, t in enumerate(texts) if n != held_out] for i, texts in captions.items()
    }
    print(f"{len(candidates)} candidates, {sum(map(len, references.values()))} references")
    ours, our_seconds = time_captionlab(references, candidates)
    theirs, (their_seconds, fewer_seconds), tokenized = time_pycocoevalcap(references, candidates)
    print(f"ratio: {their_seconds / our_seconds:.1f} times as fast as pycocoevalcap")
    print(
        f"       {fewer_seconds / our_seconds:.1f} times, its tokenizing of the references left out"
    )
    for name, (corpus, each) in theirs.items():
        line = (
            f"{name:8} {ours.corpus[name]:.6f}  corpus differs by {ours.corpus[name] - corpus:+.1e}"
        )
        if name in next(iter(ours.per_image.values())):
            mine = np.array([ours.per_image[i][name] for i in candidates])
            line += f", an image by at most {np.abs(mine - each).max():.1e}"
        print(line)
    if arguments.meteor:
        time_meteor(*tokenized)


def read(path: Path) -> Captions:
    captions = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        captions[name.split("#")[0]].append(caption)
    return dict(captions)


def timed(label: str, action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - start
    print(f"  {label:44} {seconds:7.3f} s")
    return result, seconds


def time_captionlab(references: Captions, candidates: dict[str, str]) -> tuple[Any, float]:
    print("captionlab")
    of_images: dict[ImageId, list[str]] = dict(references.items())
    scorer, _ = timed(
        "prepare references (first epoch)", lambda: SplitScorer(of_images, ptb_tokens)
    )
    # with a reference for a candidate, so that later no candidate has been seen before
    first = {i: texts[0] for i, texts in references.items()}
    timed("score other captions (first epoch)", lambda: scorer(first))
    return timed("score fresh captions (every later epoch)", lambda: scorer(candidates))


def time_pycocoevalcap(
    references: Captions, candidates: dict[str, str]
) -> tuple[dict[str, Any], tuple[float, float], tuple[Captions, Captions]]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    def tokenize(captions: Captions) -> Captions:
        return PTBTokenizer().tokenize(
            {i: [{"caption": text} for text in texts] for i, texts in captions.items()}
        )

    def silently(scorer: Any) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return scorer.compute_score(refs, hyps)

    print("pycocoevalcap")
    refs, seconds = timed("PTBTokenizer, references", lambda: tokenize(references))
    hyps, more = timed(
        "PTBTokenizer, candidates", lambda: tokenize({i: [t] for i, t in candidates.items()})
    )
    (corpus, each), bleu = timed("Bleu", lambda: silently(Bleu(4)))
    scores = {f"bleu_{n + 1}": (corpus[n], np.array(each[n])) for n in range(4)}
    scores["rouge_l"], rouge = timed("Rouge", lambda: silently(Rouge()))
    scores["cider"], cider = timed("Cider", lambda: silently(Cider()))
    total = more + bleu + rouge + cider
    print(f"  {'together':44} {seconds + total:7.3f} s")
    return scores, (seconds + total, total), (refs, hyps)


def time_meteor(refs: Captions, hyps: Captions) -> None:
    from pycocoevalcap.meteor.meteor import Meteor as CocoMeteor

    print("METEOR")
    candidates, references = [texts[0] for texts in hyps.values()], list(refs.values())
    with Meteor() as meteor:
        timed(
            "captionlab, first epoch, with the start of Java",
            lambda: meteor.score(candidates, references),
        )
        ours, _ = timed("captionlab, later epochs", lambda: meteor.score(candidates, references))
    coco = CocoMeteor()
    timed("pycocoevalcap, first, with the start of Java", lambda: coco.compute_score(refs, hyps))
    (corpus, each), _ = timed("pycocoevalcap, again", lambda: coco.compute_score(refs, hyps))
    if ours is None:
        return
    print(f"meteor   {ours[0]:.6f}  corpus differs by {ours[0] - corpus:+.1e}, "
          f"an image by at most {np.abs(ours[1] - np.array(each)).max():.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
