"""Resolve and instantiate what was composed, and override what was stored.

A configuration is checked whole (``captionlab.signatures``) before anything is built.
"""

from __future__ import annotations

import functools
import inspect
import logging
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from captionlab.composition import (
    compose,
    config_dir,
    explain,
    groups,
    nearest_keys,
    require_parts,
)
from captionlab.config_references import keep, references
from captionlab.errors import UserError, did_you_mean, first_line
from captionlab.overrides import parse_override
from captionlab.signatures import LABELS, locate

CAPTIONER = "captionlab.models.captioner.Captioner"  # unless a model's YAML names another class
# of the text package, which this module does not import
FILL_WORDS = "captionlab.text.word_vectors.fill"

__all__ = ["compose", "config_dir", "explain", "groups", "require_parts"]

log = logging.getLogger("captionlab")


def resolve(config: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain dicts, lists and scalars, every interpolation resolved.

    Raises:
        UserError: if a value is missing (``???``) or refers to something that is not there.
    """
    missing = sorted(_missing_keys(OmegaConf.to_container(config, resolve=False)))
    if missing:
        raise UserError(" ".join(_missing(key, config) for key in missing))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(
            f"The configuration refers to something missing: {first_line(error)}"
        ) from error
    return typing.cast(dict[str, Any], plain)


def with_references(config: DictConfig, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration as it is written down: with its references, where possible."""
    found: dict[str, Any] = keep(OmegaConf.to_container(config, resolve=False), resolved)
    return found


def _missing_keys(node: Any, key: str = "") -> Iterator[str]:
    # OmegaConf.missing_keys() fails where an interpolation points at a missing value
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _missing_keys(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str) and node == "???":
        yield key


def _missing(key: str, config: DictConfig) -> str:
    note = ""
    target = OmegaConf.select(config, "data.source._target_")
    if key == "data.root" and target:
        layout = inspect.getattr_static(locate(target), "LAYOUT", "")
        note = f" (expected there: {layout})" if layout else ""
    return f"{key} has no value: give one with {key}=...{note}."


# --- building -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """What a model must know of the text it writes.

    ``words`` are the texts of all token ids, the frequent first, empty for special tokens: tags and
    word vectors need them.
    """

    vocabulary_size: int
    pad_id: int
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, tokenizer: Any) -> Sizes:
        """Return the sizes of a tokenizer."""
        number = len(tokenizer)
        return cls(number, tokenizer.pad_id, tuple(tokenizer.decode([i]) for i in range(number)))


def build(node: Any, key: str = "", **runtime: Any) -> Any:
    """Return the object that a checked node describes, plain containers inside.

    Args:
        node: a mapping with ``_target_``. key: where it stands, for the message.

    Raises:
        UserError: if the constructor refuses a value.
    """
    from hydra.errors import InstantiationException

    with _refusals(key):
        try:
            return instantiate(node, _convert_="all", **runtime)
        except InstantiationException as error:
            cause: BaseException = error
            while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
                cause = cause.__cause__
            raise cause from None


@contextmanager
def _refusals(key: str) -> Iterator[None]:
    """Give what a constructor says about a value the key under which the value stands."""
    try:
        yield
    except UserError as error:
        if not key or key in str(error):
            raise
        raise UserError(f"{key}: {error}") from error
    except (ValueError, RuntimeError) as error:
        # torch and Lightning answer impossible sizes and choices so; the values are the user's
        raise UserError(f"{key}: {first_line(error)}") from error


def build_captioner(model: Mapping[str, Any], sizes: Sizes) -> Any:
    """Return the captioner of a model's configuration.

    Sizes that follow from another part enter here: the attention is told the decoder's width and
    the memory's, the decoder is told the memory's width and the vocabulary.
    """
    encoder = build(model["encoder"], "model.encoder")
    node = dict(model["decoder"])
    embeddings = node.pop("embeddings", None)
    decoder = build(node, "model.decoder")
    # a pretrained language model brings its width, and no attention asks for it
    hidden = decoder.keywords.get("hidden", 1)
    if hidden < 1:
        raise UserError(f"model.decoder.hidden={hidden} must be at least 1.")
    attention = build(model["attention"], "model.attention")
    # an AoA decoder refines the memory before anything looks at it
    seen = hidden if getattr(decoder.func, "refines_memory", False) else encoder.dim
    with _refusals("model.attention"):
        attention = attention(query_dim=hidden, memory_dim=seen)
    with _refusals("model.decoder"):
        decoder = decoder(
            vocabulary_size=sizes.vocabulary_size,
            pad_id=sizes.pad_id,
            memory_dim=encoder.dim,
            attention=attention,
        )
    if embeddings is not None:
        with _refusals("model.decoder"):
            fill = locate(FILL_WORDS)
            log.info("embeddings %s", fill(decoder.words.weight, str(embeddings), sizes.words))
    parts = {"encoder": encoder, "decoder": decoder}
    if model.get("tags"):
        tags = build(model["tags"], "model.tags")
        with _refusals("model.tags"):
            parts["tags"] = tags(words=sizes.words, memory_dim=encoder.dim)
    captioner = locate(model.get("_target_", CAPTIONER))
    return captioner(**parts)


def keep_architectures(model: dict[str, Any], captioner: Any) -> None:
    """Write what a part from elsewhere is made of into the model's configuration.

    A checkpoint must rebuild it without the folder or the network it came from.
    """
    for part in ("encoder", "decoder"):
        architecture = getattr(getattr(captioner, part), "architecture", None)
        if architecture is not None:
            model[part] = {**model[part], "architecture": architecture}


def build_data(data: Mapping[str, Any], **runtime: Any) -> Any:
    """Return the LightningDataModule of a data configuration; ``runtime`` values go before its own."""
    return build({k: v for k, v in data.items() if k not in LABELS["data"]}, "data", **runtime)


# --- overriding a stored configuration ------------------------------------------------------------


def override(
    stored: Mapping[str, Any],
    overrides: Sequence[str],
    groups: Sequence[str],
    settings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a stored configuration with command-line overrides applied, resolved.

    Args:
        stored: the configuration of a checkpoint; what it holds references to follows an override.
        overrides: ``data=flickr8k``, ``data.root=...``, ``decoding=beam``, ``decoding.beam_size=5``.
        groups: the groups that may be replaced, or changed inside. settings: other keys that may
            be set.

    Raises:
        UserError: for a key that is not there, a group that cannot be replaced, an unreadable override.
    """
    config = OmegaConf.create(dict(stored))
    chosen, values = _split_overrides(overrides, groups, settings)
    if chosen:
        composed = compose([f"{group}={choice}" for group, choice in chosen.items()])
        # outer groups first: data=flickr8k data/augment=standard
        for group in sorted(chosen, key=lambda name: name.count("/")):
            key = group.replace("/", ".")
            OmegaConf.update(config, key, OmegaConf.select(composed, key), merge=False)
    OmegaConf.set_struct(config, True)
    for key, (value, is_new) in values.items():
        try:
            with open_dict(config) if is_new else nullcontext():
                OmegaConf.update(config, key, value, merge=False)
        except OmegaConfBaseException as error:
            raise UserError(_explain_stored_key(key, config)) from error
    return resolve(config)


def _explain_stored_key(key: str, config: DictConfig) -> str:
    parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
    known = list(parent if isinstance(parent, DictConfig) else config)
    return f"{key}: there is no such key here{nearest_keys(key, config, map(str, known))}"


@functools.cache
def known_references() -> dict[str, set[str]]:
    """Return the references between values of the data in conf/, by the key where they stand."""
    found: dict[str, set[str]] = {}
    for path in (config_dir() / "data").rglob("*.yaml"):
        place = ".".join(path.relative_to(config_dir()).parent.parts)
        for key, text in references(OmegaConf.to_container(OmegaConf.load(path)), place):
            found.setdefault(key, set()).add(text)
    return found


def _split_overrides(
    overrides: Sequence[str], groups: Sequence[str], settings: Sequence[str]
) -> tuple[dict[str, str], dict[str, tuple[Any, bool]]]:
    parsed = [parse_override(text) for text in overrides]
    chosen: dict[str, str] = {}
    values: dict[str, tuple[Any, bool]] = {}
    for item in parsed:
        key = item.key_or_group
        top = key.replace("/", ".").split(".")[0]
        if top not in (*groups, *settings):
            raise UserError(f"{key} cannot be set here; {did_you_mean(top, (*groups, *settings))}")
        if key in groups or "/" in key:
            chosen[key] = str(item.value())
        else:
            values[key] = item.value(), item.is_add() or item.is_force_add()
    return chosen, values
