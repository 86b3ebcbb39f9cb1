"""The model card of an exported folder: what it is, what it was measured on, what it is not for.

Mitchell et al. 2019, "Model Cards for Model Reporting"; its front matter is Hugging Face's. It says
what is known of the checkpoint and nothing else: a license that nobody stated is not stated.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from captionlab.inference.export.card_facts import CardFacts, languages_of, model_name, plain_text
from captionlab.inference.export.card_sections import sections
from captionlab.metrics.score_table import in_order

# what Hugging Face's hub takes as a license without a name of its own
_LICENSE_NAMES = """
afl-3.0 agpl-3.0 apache-2.0 bsd bsd-2-clause bsd-3-clause bsl-1.0 cc cc-by-2.0 cc-by-3.0 cc-by-4.0
cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0
creativeml-openrail-m ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gpl gpl-2.0 gpl-3.0 isc lgpl
lgpl-2.1 lgpl-3.0 mit mpl-2.0 ms-pl odbl odc-by openrail openrail++ osl-3.0 unlicense wtfpl zlib
"""
KNOWN_LICENSES = frozenset(_LICENSE_NAMES.split())
# scores that a list of models compares
_LISTED = frozenset(
    (
        *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider", "truth"),
        *("vqa_accuracy", "exact_match"),
    )
)


def render_card(facts: CardFacts) -> str:
    """Return the card as Markdown behind YAML front matter."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True)
    name = plain_text(model_name(facts.config))
    about = (
        f"An image captioner: it takes a picture and writes what it shows, format {facts.format}."
    )
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections(facts).items())
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
