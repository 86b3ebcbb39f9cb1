"""The sections of a model card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from captionlab.core.config_types import Config
from captionlab.inference.export.card_facts import CardFacts, plain_text
from captionlab.metrics.score_table import in_order, score_info

NOT_STATED = "Not stated"
_DRAWN = frozenset(("shapes", "shapes_questions", "shapes_styles"))


def sections(facts: CardFacts) -> dict[str, str]:
    """Return the sections by title, in Markdown."""
    return {
        "How to run it": _how_to_run(facts),
        "Model": _table(_model_rows(facts)),
        "Data": _table(_data_rows(facts)),
        "Scores": _scores(facts),
        "Meant for": _MEANT,
        "Not for": _not_for(facts),
        "License": _license(facts.license),
        "Versions": _table(facts.versions.items()),
    }


def _table(rows: Iterable[tuple[str, object]]) -> str:
    body = [f"| {plain_text(name)} | {plain_text(value)} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *body])


def _model_rows(facts: CardFacts) -> Iterator[tuple[str, object]]:
    model = facts.config["model"]
    for part in ("encoder", "connector", "decoder", "attention", "tags"):
        node = model.get(part)
        if isinstance(node, Mapping) and "_target_" in node:
            yield part, _part(node)
    yield "parameters", f"{facts.parameters:,}"
    yield "precision", facts.precision
    yield "vocabulary", f"{facts.vocabulary:,} tokens"
    yield "pictures", f"{facts.image['size']} pixels a side, fit: {facts.image['fit']}"
    yield "decoding", _part(facts.config["decoding"])
    yield (
        "trained for",
        f"{facts.epochs} epochs" if facts.epochs else "less than an epoch, or unknown",
    )
    average = _node(facts.config, "callbacks", "average")
    if average:
        yield "weights", f"an exponential moving average (decay {average.get('decay')})"
    objective = _node(facts.config, "objective")
    if "_target_" in objective:
        yield "objective", _part(objective)
    if paper := model.get("paper"):
        yield "paper", paper


def _node(config: Config, *path: str) -> Mapping[str, Any]:
    node: Any = config
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def _part(node: Mapping[str, Any]) -> str:
    """Return a part's class, and the settings that say which one it is."""
    name = str(node["_target_"]).rpartition(".")[2]
    kinds = (str, int, float)
    settings = [
        f"{key}={value}"
        for key, value in node.items()
        if isinstance(value, kinds) and value is not False and not key.startswith("_")
    ]
    return f"{name}: {', '.join(settings)}" if settings else name


def _data_rows(facts: CardFacts) -> Iterator[tuple[str, object]]:
    trained_on = facts.trained_on
    yield "name", trained_on.get("name") or facts.config["data"].get("name") or "unknown"
    splits = trained_on.get("splits")
    tested = facts.measured.data.get("splits")
    every = {**(splits if isinstance(splits, Mapping) else {})}
    every |= tested if isinstance(tested, Mapping) else {}
    for split, entry in every.items():
        if isinstance(entry, Mapping):
            yield split, ", ".join(_sizes(entry))
    if not every:
        yield "sizes", "unknown: the checkpoint holds none"


def _sizes(entry: Mapping[str, Any]) -> Iterator[str]:
    for what in ("images", "captions"):
        if type(entry.get(what)) is int:
            yield f"{entry[what]:,} {what}"
    if entry.get("digest"):
        yield f"fingerprint {entry['digest']}"


def _scores(facts: CardFacts) -> str:
    splits = {"validation": dict(facts.validation)}
    for name, value in facts.measured.scores.items():
        split, _, score = name.partition("/")
        splits.setdefault(split, {})[score] = value
    splits = {split: scores for split, scores in splits.items() if scores}
    if not splits:
        return "Not measured: the checkpoint holds none."
    names = in_order({name for scores in splits.values() for name in scores})
    rows = [f"| | {' | '.join(map(plain_text, splits))} |", "|---|" + "---|" * len(splits)]
    for name in names:
        cells = [_score(facts, split, name, splits[split].get(name)) for split in splits]
        rows.append(f"| {plain_text(name)} | {' | '.join(cells)} |")
    about = (
        "CIDEr, BLEU, METEOR and ROUGE-L are coco-caption's (CIDEr 1.0 is its 100). Intervals are 95 %, "
        "a bootstrap over images."
    )
    if facts.precision != "float32":
        about += f" They were measured in float32, before the weights became {facts.precision}."
    if facts.calibrated:
        about += (
            " calibration.json turns a caption's log-probability into its chance of being right."
        )
    return "\n".join([*rows, "", about])


def _score(facts: CardFacts, split: str, name: str, value: float | None) -> str:
    if value is None:
        return ""
    digits = score_info(name).digits
    around = facts.measured.intervals.get(f"{split}/{name}")
    interval = "" if around is None else f" ({around[0]:.{digits}f} to {around[1]:.{digits}f})"
    return f"{value:.{digits}f}{interval}"


_MEANT = """\
First drafts of captions and alt text of pictures like those that it learned from, which a person reads
before others rely on them; research on captioning; search in one's own pictures."""

_LIMITS = """\
- A caption may be wrong in any word: it names things that are not there, misses what matters, and reads
  as sure of itself when it is wrong as when it is right. It is no evidence of what a picture shows.
- Never the sole aid where a mistake can hurt anybody: crossing a street, medicines, food, traffic, medical
  or security pictures. People who cannot see the picture must be told that a machine wrote the caption.
- Not for identifying people, nor for guessing who they are, their gender, origin, health, faith or feelings;
  not for watching them, nor for decisions about them.
- Its words, and what it takes for granted, are those of whoever wrote the captions that it learned from.
- Pictures of another kind than its data get captions all the same, and nothing says so."""


def _not_for(facts: CardFacts) -> str:
    names = {str(facts.trained_on.get("name")), str(facts.config["data"].get("name"))}
    if not names & _DRAWN:
        return _LIMITS
    drawn = "- It learned from drawn shapes alone: its captions do not describe photographs, of anything."
    return f"{drawn}\n{_LIMITS}"


def _license(text: str | None) -> str:
    if text is None:
        return (
            f"{NOT_STATED}. Ask whoever made it; the data, and weights that "
            "training began with, may have terms of their own."
        )
    return f"{plain_text(text)}. The data, and weights that training began with, may have terms of their own."


def _how_to_run(facts: CardFacts) -> str:
    package = "'captionlab[export]'" if facts.format == "onnx" else "captionlab"
    own = f"""\
    pip install {package}
    captionlab predict THIS_FOLDER photo.jpg
    python -c 'from captionlab import load_captioner; print(load_captioner("THIS_FOLDER")("photo.jpg"))'"""
    if facts.format == "safetensors":
        return f"{own}\n\nThe weights are safetensors, all else is JSON: nothing here is executed."
    if facts.format == "onnx":
        return f"""\
Without captionlab, with the runner in this folder:

    pip install onnxruntime numpy pillow
    python caption.py photo.jpg

Or with it:

{own}"""
    return """\
Without captionlab, with the runner in this folder; `torch.export.load` runs what a file holds, so load
such files only from people whom you trust:

    pip install torch numpy pillow
    python caption_torch.py photo.jpg"""
