"""What a model card is made of, and how what a file says becomes text of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from captionlab.core.config_types import Config

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~!&])")
_LONGEST = 300
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")


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
