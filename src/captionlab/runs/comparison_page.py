"""The page of a comparison: one HTML file that opens anywhere, also offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from captionlab.build import build_data
from captionlab.config.check import check
from captionlab.core.errors import UserError
from captionlab.core.files import replacing
from captionlab.core.registry import require_allowed
from captionlab.data.dataset import read_record_image
from captionlab.data.images.files import BrokenImage
from captionlab.data.records import CaptionRecord
from captionlab.data.scored_records import in_language, scored_records
from captionlab.evaluation.gallery import fact_list, photo
from captionlab.metrics.bootstrap import Difference
from captionlab.runs.comparison import (
    Group,
    companion_metrics,
    distinguishing_keys,
    format_value,
    setting_titles,
)
from captionlab.runs.comparison_facts import page_facts, run_facts
from captionlab.runs.run import Run, read_config
from captionlab.runs.run_files import read_references

MAX_CAPTIONS = 40_000  # captions on a page: more make it slow to open
MAX_PICTURES = 60  # images shown with their picture, those where the runs differ most


def write_page(
    path: Path,
    groups: Sequence[Group],
    metric: str,
    gaps: Sequence[Difference | None],
    trust: Sequence[str] = (),
) -> None:
    """Write the page of compared runs under ``path``, whole or not at all.

    ``trust``: classes, or packages of your own, that read the runs' data.
    """
    keys = distinguishing_keys(groups)
    runs = [run for group in groups for run in group.runs]
    facts_by_run = {run.path: run_facts(run, metric) for run in runs}
    data = {
        "metric": metric,
        "keys": [[key, title] for key, title in setting_titles(keys).items()],
        "scores": [metric, *companion_metrics(groups, metric, all_of_split=True)],
        "rows": [
            row(group, gap, keys, facts_by_run) for group, gap in zip(groups, gaps, strict=True)
        ],
        "images": images(groups, trust),
    }
    template = Template(
        files("captionlab.runs").joinpath("comparison_template.html").read_text("utf-8")
    )
    # "<" could end the script element
    content = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    facts = page_facts(runs, list(facts_by_run.values()), metric)
    names = {run.config.get("data.name") for run in runs}
    name = f" on {names.pop()}" if len(names) == 1 and None not in names else ""
    page = template.substitute(
        title=html.escape(f"{len(runs)} run{'s' * (len(runs) != 1)} by {metric}{name}"),
        facts=fact_list(facts),
        data=content,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def row(
    group: Group,
    gap: Difference | None,
    keys: Sequence[str],
    facts: Mapping[Path, Mapping[str, str]],
) -> dict[str, object]:
    """Return what the page knows of a group; ``facts``: the ``run_facts`` of each run, by its path."""
    values = [format_value(group.settings[k]) for k in keys if group.settings[k] is not None]
    names = sorted({name for run in group.runs for name in run.scores})
    return {
        "label": " · ".join(values) or str(group.runs[0].path),
        "settings": {key: sortable_value(group.settings[key]) for key in keys},
        "scores": {name: [group.mean(name), group.spread(name)] for name in names},
        "gap": None if gap is None else [gap.value, gap.low, gap.high],
        "runs": [
            {
                "path": str(run.path),
                "facts": facts[run.path],
                "finished": run.finished,
                "seconds": run.seconds,
                "epochs": run.epochs,
                "curves": run.curves,
            }
            for run in group.runs
        ],
    }


def sortable_value(value: object) -> int | float | str | None:
    """Return a setting as the page sorts and shows it."""
    return value if isinstance(value, int | float | None) else format_value(value)


def images(groups: Sequence[Group], trust: Sequence[str] = ()) -> list[dict[str, object]]:
    """Return images with each group's caption of it (its first run's) and that one's CIDEr.

    Those come first where the groups differ most.
    """
    captions = [group.runs[0].captions() for group in groups]
    ciders = [caption_ciders(group.runs[0]) for group in groups]
    references = first_references(groups)
    rows: list[dict[str, Any]] = []
    for image_id in dict.fromkeys(image_id for one in captions for image_id in one):
        values = [one.get(image_id) for one in ciders]
        known = [value for value in values if value is not None]
        rows.append(
            {
                "id": image_id,
                "references": references.get(image_id, []),
                "captions": [one.get(image_id) for one in captions],
                "cider": [None if v is None else round(v, 3) for v in values],
                "spread": round(max(known) - min(known), 4) if len(known) > 1 else 0.0,
            }
        )
    rows.sort(key=lambda one: -one["spread"])
    shown = rows[: max(1, MAX_CAPTIONS // len(groups))]
    add_pictures(shown[:MAX_PICTURES], groups, trust)
    return shown


def caption_ciders(run: Run) -> dict[int | str, float]:
    """Return the CIDEr of each of a run's captions, where it left them."""
    if run.per_image is None or "cider" not in run.per_image:
        return {}
    values = run.per_image["cider"].values[:, 0].tolist()
    return dict(zip(run.per_image.image_ids, values, strict=True))


def first_references(groups: Sequence[Group]) -> dict[int | str, list[str]]:
    """Return the references of the images, from the first run that left them."""
    for group in groups:
        if references := read_references(group.runs[0].path / "references.json"):
            return references
    return {}


def add_pictures(
    shown: Sequence[dict[str, object]], groups: Sequence[Group], trust: Sequence[str]
) -> None:
    """Put small pictures beside the captions, as far as the runs' data is still there."""
    by_image_id: Mapping[object, dict[str, object]] = {one["id"]: one for one in shown}
    runs = [group.runs[0] for group in groups if group.runs[0].finished]
    if not runs or not by_image_id:
        return
    settings = read_config(runs[0].path).get("data")
    if not isinstance(settings, Mapping):
        return
    # to look at images neither a tokenizer is needed, nor stored features, which may be gone
    settings = {**settings, "features": None, "extra": None, "augment": None}
    settings.pop("tokenizer", None)
    try:
        require_allowed({"data": settings}, trust)  # a run folder may come from a stranger
        check({"data": settings})
        data = build_data(settings, tokenizer=None)
        split = next((name for name in data.source.splits if name.startswith("test")), "val")
        for record in data.records(split):
            shows = [
                one for i in ids_of(record, data.source.language) if (one := by_image_id.get(i))
            ]
            if shows:
                array = read_record_image(record).permute(1, 2, 0).numpy()
                picture = photo(Image.fromarray(array))
                for one in shows:
                    one["src"] = picture
    except (UserError, BrokenImage) as error:
        print(f"no pictures: {error}")


def ids_of(record: CaptionRecord, language: str) -> set[int | str]:
    """Return the ids under which an image is scored, by a captioner of several languages too."""
    asked = [*scored_records([record]), *scored_records(in_language([record], language))]
    return {one.image_id for one in asked}
