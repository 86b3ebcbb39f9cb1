"""Evaluate a server's model on a split: the same files and scores as of a checkpoint, without a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from captionlab.applications.endpoint.captions import Request
from captionlab.applications.endpoint.settings import Endpoint
from captionlab.applications.endpoint.wording import Wording
from captionlab.build import build_data
from captionlab.cli.endpoint_captions import caption_all, note
from captionlab.cli.evaluate import GALLERY_IMAGES, TRAINING_DATA, take
from captionlab.cli.logs import quiet_lightning
from captionlab.cli.scored_folder import write_scored_folder
from captionlab.config.check import check
from captionlab.config.compose import compose
from captionlab.config.override import override
from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError
from captionlab.core.files import require_folder_place
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.dataset import CaptionDataset
from captionlab.data.records import CaptionRecord
from captionlab.data.summary import LOADING, origin, summarize
from captionlab.evaluation.examples import collect_examples
from captionlab.evaluation.gallery import write_gallery
from captionlab.evaluation.provenance import describe_data
from captionlab.evaluation.report import write_text
from captionlab.evaluation.score import score_records
from captionlab.metrics.own_scores import OwnScores
from captionlab.metrics.split_scorer import Scores
from captionlab.runs.evaluation_folder import claim, folder_name, require_free
from captionlab.text.prompts import Prompt
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary

ImageId = int | str
SPLIT = "test"  # unless another one is chosen
# of a run's configuration, what the data may refer to, and what a comparison asks
KEPT = ("data", "model", "meteor", "seed")
# of the data, what a server's model has no use for, with the reason
WITHOUT_EFFECT = {
    **dict.fromkeys(TRAINING_DATA, "it is of training"),
    "tokenizer": "a server's model has its own",
    "features": "a server's model looks at the pictures themselves",
    "blank_images": "a server's model looks at the pictures themselves",
}


def evaluate_endpoint(
    endpoint: Endpoint,
    overrides: Sequence[str],
    *,
    prompt: str | None = None,
    out: str | None = None,
    limit: int | None = None,
) -> None:
    """Ask a server's model about a split, score that, and write the folder of a run.

    The folder can be compared with runs (``captionlab compare``). An image without a caption counts
    as one with an empty caption.

    Args:
        overrides: ``split=val``, ``data=...``, ``data.root=...``.
        prompt: how the model is asked, None for the usual way. out: the folder; by default one named
            after model, data and split below ``runs``.
        limit: only so many images, the first ones of the split, with all that is asked of them.
    """
    quiet_lightning()
    if out:
        require_folder_place(out, "--out ")
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} must be at least 1")
    split, rest = take(overrides, "split", SPLIT)
    config = configure(rest)
    data: CaptionDataModule = build_data({**config["data"], "features": None})
    wording = Wording(prompt, data.source.language)
    images = list(data.records(split))[:limit]
    kept = {record.image_id for record in images}
    records = [one for one in data.scored_records(split) if one.stored_id in kept]
    asked = Asked.of(records, data, wording, split)
    settings = settings_of(config, data, endpoint, asked.template, split, images, limit)
    if out:
        require_free(Path(out), settings)
    place = origin(config["data"])
    print(f"data       {data.name} {split}: {len(images):,} images{asked.more} from {place}")
    captions = caption_records(endpoint, records, asked)
    scores = score_records(
        records,
        captions,
        language=data.source.language,
        meteor=config["meteor"],
        truth=data.truth,
        training=(lambda: data.source.records("train")) if "train" in data.source.splits else None,
        prompts=asked.prompts,
        own=OwnScores.of(data.score_names, data.caption_scores),
    )
    folder = _folder(out, endpoint, data, settings)
    write_scored_folder(
        folder,
        scores,
        scores.corpus,
        records,
        settings,
        lambda path: write_page(path, scores, data, endpoint, settings, records),
        {"data": run_data(settings)},
    )
    write_text(folder / "config.yaml", config_text(config, endpoint, settings))


def _folder(out: str | None, endpoint: Endpoint, data: CaptionDataModule, settings: Config) -> Path:
    """Return the folder to write; UserError where another evaluation has written there meanwhile."""
    if out:
        require_free(Path(out), settings)
        return Path(out)
    of_data = folder_name(str(data.name), settings["data"]["split"])
    return claim(Path("runs", folder_name("endpoint", endpoint.model), of_data), settings)


@dataclass(frozen=True)
class Asked:
    """What is asked of each scored record, and how.

    Args:
        prompts: of the records, by their ids. texts: what the server is asked, one a record.
        template: what the texts were made of; a line each where there are several.
    """

    prompts: Mapping[ImageId, Prompt]
    texts: Sequence[str]
    template: str

    @classmethod
    def of(
        cls,
        records: Sequence[CaptionRecord],
        data: CaptionDataModule,
        wording: Wording,
        split: str,
    ) -> Asked:
        """Return what is asked of the records of a split.

        Raises:
            UserError: if the user's template serves none of them, or a language has none.
        """
        prompts = {record.image_id: data.prompt(record.image_id) for record in records}
        wording.require_served(
            prompts.values(), f"nothing in split {split!r} of {data.name} stands there"
        )
        return cls(
            prompts,
            [wording.text(prompts[record.image_id]) for record in records],
            "\n".join(dict.fromkeys(map(wording.template, prompts.values()))),
        )

    @property
    def what(self) -> str:
        """What the records are called."""
        return "questions" if any(one.question for one in self.prompts.values()) else "images"

    @property
    def more(self) -> str:
        """How many questions there are, in words; empty where nothing is asked."""
        return f", {len(self.texts):,} questions" if self.what == "questions" else ""


def caption_records(
    endpoint: Endpoint, records: Sequence[CaptionRecord], asked: Asked
) -> dict[ImageId, str]:
    """Return a caption for each record, an empty one where the server gave none."""
    captions: dict[ImageId, str] = {}

    def keep(number: int, caption: str | None) -> bool:
        captions.setdefault(records[number].image_id, caption or "")
        return True

    names = [record.image_id for record in records]
    pairs = zip(records, asked.texts, strict=True)
    requests = [Request(record.image, text) for record, text in pairs]
    tally, missing = caption_all(endpoint, names, requests, keep, what=asked.what)
    by = f"{endpoint.model} at {endpoint.url}"
    print(f"captions   {tally.asked:,} by {by}, {tally.known:,} kept from before")
    if missing:
        note(
            f"{len(missing):,} {asked.what} got no caption, which counts as an empty one: {missing[0]}"
        )
    return captions


def configure(overrides: Sequence[str]) -> MutableConfig:
    """Return data and scores of an evaluation, resolved and checked.

    Raises:
        UserError: for an override that cannot be read, or would have no effect here.
    """
    for text in overrides:
        key = text.partition("=")[0].lstrip("+").replace("/", ".")
        name = key.removeprefix("data.").partition(".")[0]
        if key.startswith("data.") and name in WITHOUT_EFFECT:
            reason = WITHOUT_EFFECT[name]
            raise UserError(
                f"{text}: {key} has no effect on an evaluation ({reason}); leave it out"
            )
    composed: Any = OmegaConf.to_container(compose(["output_dir=unused"]), resolve=False)
    config = override({name: composed[name] for name in KEPT}, overrides, ("data",), ("meteor",))
    config["data"] |= TRAINING_DATA
    if not isinstance(config["meteor"], bool):
        raise UserError(f"meteor={config['meteor']!r} is not true or false.")
    check({"data": config["data"]})
    return config


def settings_of(
    config: Config,
    data: CaptionDataModule,
    endpoint: Endpoint,
    template: str,
    split: str,
    images: Sequence[CaptionRecord],
    limit: int | None,
) -> MutableConfig:
    """Return what distinguishes this evaluation from others: results.json holds it."""
    read = {"name": data.name, "origin": origin(config["data"]), "split": split}
    return {
        "endpoint": {**endpoint.question, "prompt": template},
        "data": {**read, **summarize(images)},
        "read": _read(config),
        "meteor": config["meteor"],
        "limit": limit,
    }


def _read(config: Config) -> MutableConfig:
    """Return the settings of the data that decide what is captioned and scored."""
    left_out = (*LOADING, *WITHOUT_EFFECT)
    return {k: v for k, v in config["data"].items() if k not in left_out}


def run_data(settings: Config) -> MutableConfig:
    """Return the data of an evaluation as the results of a run tell them."""
    read = dict(settings["data"])
    head = {name: read.pop(name) for name in ("name", "origin")}
    return {**head, "splits": {read.pop("split"): read}}


def config_text(config: Config, endpoint: Endpoint, settings: Config) -> str:
    """Return a run's config.yaml: by it ``captionlab compare`` knows the folder, and its rows."""
    asked = {**settings["endpoint"], "name": endpoint.model}
    del asked["model"], asked["parameters"]
    # nothing in a text of the user's is a reference to other settings
    model = {k: v.replace("${", "$ {") if isinstance(v, str) else v for k, v in asked.items()}
    parameters = dict(endpoint.parameters)
    run = {
        "data": _read(config),
        "model": model,
        "seed": parameters.pop("seed", config["seed"]),
        "decoding": {"_target_": "server", **parameters},
    }
    # scores of another split, or of a part of it, stand in a row of their own
    if settings["data"]["split"] != SPLIT:
        run["split"] = settings["data"]["split"]
    if settings["limit"] is not None:
        run["limit"] = settings["limit"]
    return yaml.safe_dump(run, allow_unicode=True, sort_keys=False)


def write_page(
    path: Path,
    scores: Scores,
    data: CaptionDataModule,
    endpoint: Endpoint,
    settings: Config,
    records: Sequence[CaptionRecord],
) -> None:
    """Write a gallery of examples of the split, which says what they are of."""
    split = settings["data"]["split"]
    # a gallery shows pictures and encodes no caption
    no_words = WordTokenizer(Vocabulary(()))
    dataset = CaptionDataset(records, no_words, image_size=data.image_size)
    examples = collect_examples(dataset, scores, GALLERY_IMAGES)
    parameters = ", ".join(f"{key}={value}" for key, value in sorted(endpoint.parameters.items()))
    facts = {
        "data": describe_data(settings["data"], split, scored=len(scores.captions)),
        "model": f"{endpoint.model} at {endpoint.url}",
        "prompt": settings["endpoint"]["prompt"],
        "decoding": f"that of the server, {parameters}" if parameters else "that of the server",
    }
    title = f"{data.name} {split}, {endpoint.model}"
    write_gallery(path, examples, title, scores.corpus, facts)
