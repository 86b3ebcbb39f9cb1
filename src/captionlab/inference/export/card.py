"""The model card of an exported folder: what it is, what it was measured on, what it is not for.

Mitchell et al. 2019, "Model Cards for Model Reporting"; its front matter is Hugging Face's. It says
what is known of the checkpoint and nothing else: a license that nobody stated is "not stated".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from captionlab.core.config_types import Config
from captionlab.metrics.score_table import in_order, score_info

# what Hugging Face's hub takes as a license without a name of its own
KNOWN_LICENSES = frozenset(
    [
        "afl-3.0",
        "agpl-3.0",
        "apache-2.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsl-1.0",
        "cc",
        "cc-by-2.0",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "creativeml-openrail-m",
        "ecl-2.0",
        "epl-1.0",
        "epl-2.0",
        "eupl-1.1",
        "eupl-1.2",
        "gpl",
        "gpl-2.0",
        "gpl-3.0",
        "isc",
        "lgpl",
        "lgpl-2.1",
        "lgpl-3.0",
        "mit",
        "mpl-2.0",
        "ms-pl",
        "odbl",
        "odc-by",
        "openrail",
        "openrail++",
        "osl-3.0",
        "unlicense",
        "wtfpl",
        "zlib",
    ]
)
NOT_STATED = "not stated"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~!&])")
_LONGEST = 300
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
# scores that a list of models compares
_LISTED = frozenset(
    (
        *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider", "truth"),
        *("vqa_accuracy", "exact_match"),
    )
)
_DRAWN = frozenset(("shapes", "shapes_questions", "shapes_styles"))


@dataclass(frozen=True)
class Measured:
    """Scores of a checkpoint on test splits, by their names on the outside (``test/cider``).

    ``intervals`` are 95 %, over images. ``data`` tells what was read, as results.json does.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        config: the checkpoint's, resolved. trained_on: its ``data`` entry.
        validation: its scores of validation. epochs: finished ones.
        parameters: of the network. vocabulary: tokens. languages: that a prompt can ask for.
        image: ``size`` and ``fit``. calibrated: whether calibration.json stands beside the card.
        versions: of what wrote it.
    """

    config: Config
    format: str
    precision: str
    trained_on: Mapping[str, Any]
    validation: Mapping[str, float]
    epochs: int
    parameters: int
    vocabulary: int
    languages: Sequence[str]
    image: Mapping[str, Any]
    versions: Mapping[str, str]
    measured: Measured = field(default_factory=Measured)
    license: str | None = None
    calibrated: bool = False


def render_card(facts: CardFacts) -> str:
    """Return the card as Markdown behind YAML front matter."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True)
    name = plain_text(model_name(facts.config))
    sections = {
        "How to run it": _how_to_run(facts),
        "Model": _table(_model_rows(facts)),
        "Data": _table(_data_rows(facts)),
        "Scores": _scores(facts),
        "Meant for": _MEANT,
        "Not for": _not_for(facts),
        "License": _license(facts.license),
        "Versions": _table(facts.versions.items()),
    }
    about = (
        f"An image captioner: it takes a picture and writes what it shows, format {facts.format}."
    )
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections.items())
    return f"---\n{front}---\n\n# {name}\n\n{about}\n\n{text}\n"


def front_matter(facts: CardFacts) -> dict[str, Any]:
    """Return the metadata of the card, as Hugging Face's hub reads it."""
    front: dict[str, Any] = {}
    if languages := languages_of(facts):
        front["language"] = languages
    if facts.license is not None:
        front |= _hub_license(facts.license)
    front["library_name"] = "captionlab"
    front["pipeline_tag"] = "image-to-text"
    front["tags"] = ["image-captioning", "captionlab", facts.format]
    if results := _model_index(facts):
        front["model-index"] = results
    return front


def plain_text(value: object) -> str:
    """Return a value of a file as one line that Markdown shows as it is."""
    text = " ".join(str(value).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return _MARKUP.sub(r"\\\1", "".join(c for c in text if c.isprintable()))


def model_name(config: Config) -> str:
    """Return the name of a model and of the data that it learned from."""
    return f"{config['model'].get('name') or 'captioner'} on {config['data'].get('name') or 'data'}"


def languages_of(facts: CardFacts) -> list[str]:
    """Return the codes of the languages that the captioner writes, as far as they are known."""
    source = facts.config["data"].get("source")
    named = source.get("language") if isinstance(source, Mapping) else None
    given = facts.languages or [named or facts.config["data"].get("language")]
    return [one for one in given if isinstance(one, str) and _LANGUAGE.fullmatch(one)]


def _hub_license(text: str) -> dict[str, str]:
    if text.lower() in KNOWN_LICENSES:
        return {"license": text.lower()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.+-]+", "-", text.lower())[:80]}


def _model_index(facts: CardFacts) -> list[dict[str, Any]]:
    scores = {name: value for name, value in _test_scores(facts).items() if name in _LISTED}
    if not scores:
        return []
    data = str(facts.measured.data.get("name") or facts.config["data"].get("name") or "data")
    result = {
        "task": {"type": "image-to-text"},
        "dataset": {"name": data, "type": data, "split": "test"},
        "metrics": [
            {"type": name, "value": round(scores[name], 4)} for name in in_order({*scores})
        ],
    }
    return [{"name": model_name(facts.config), "results": [result]}]


def _test_scores(facts: CardFacts) -> dict[str, float]:
    named = facts.measured.scores.items()
    return {name.removeprefix("test/"): value for name, value in named if name.startswith("test/")}


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
            f"{NOT_STATED[0].upper()}{NOT_STATED[1:]}. Ask whoever made it; the data, and weights that "
            "training began with, may have terms of their own."
        )
    return f"{plain_text(text)}. The data, and weights that training began with, may have terms of their own."


def _how_to_run(facts: CardFacts) -> str:
    own = """\
    pip install captionlab
    captionlab predict THIS_FOLDER photo.jpg
    python -c 'from captionlab import load_captioner; print(load_captioner("THIS_FOLDER")("photo.jpg"))'"""
    if facts.format == "safetensors":
        return f"{own}\n\nThe weights are safetensors, all else is JSON: nothing here is executed."
    if facts.format == "onnx":
        return f"""\
Without captionlab, with the runner in this folder:

    pip install onnxruntime numpy pillow
    python caption.py photo.jpg

Or with it (`pip install 'captionlab[export]'`):

{own}"""
    return """\
Without captionlab, with the runner in this folder; `torch.export.load` runs what a file holds, so load
such files only from people whom you trust:

    pip install torch numpy pillow
    python caption_torch.py photo.jpg"""
