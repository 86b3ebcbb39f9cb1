"""Compose, resolve, instantiate: the one place of the library that knows OmegaConf.

A configuration is checked whole (``captionlab.signatures``) before anything is built.
"""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from captionlab.errors import UserError, about_file, did_you_mean
from captionlab.signatures import LABELS, locate

CAPTIONER = "captionlab.models.captioner.Captioner"  # unless a model's YAML names another class
# of the text package, which this module does not import
FILL_WORDS = "captionlab.text.word_vectors.fill"
TRUSTED_TARGETS = ("captionlab.", "torch.", "torchvision.")

log = logging.getLogger("captionlab")


def config_dir() -> Path:
    """Return the folder of the YAML files: inside an installed wheel, or beside ``src`` in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "conf", package.parent.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"No conf/train.yaml inside {package} or beside its source folder.")


def compose(overrides: Sequence[str] = (), config_name: str = "train") -> DictConfig:
    """Return the configuration that the command line ``python train.py OVERRIDES`` would get.

    Raises:
        UserError: for a wrong group choice, a mistyped key or an unreadable override.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra_compose(config_name, overrides=list(overrides))
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        raise UserError(sentence) from error


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
            f"The configuration refers to something missing: {_first_line(error)}"
        ) from error
    return typing.cast(dict[str, Any], plain)


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


def explain(error: BaseException) -> str | None:
    """Return one sentence for an error of Hydra, OmegaConf or a file that the user can mend, else None."""
    if isinstance(error, UserError):
        return str(error)
    module = type(error).__module__
    if not module.startswith(("hydra", "omegaconf")):  # one of these is an OSError too
        return about_file(error) if isinstance(error, OSError) else None
    cause = error.__cause__
    text = _first_line(error)
    name = type(error).__name__
    if name == "MissingConfigException":
        return _explain_choice(error)
    if cause is not None and "not in struct" in str(cause):
        return _explain_key(text, str(cause))
    if cause is not None and isinstance(cause, OmegaConfBaseException):
        return f"{text.rstrip('.')}: {_first_line(cause)}"
    return text


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _explain_choice(error: BaseException) -> str:
    missing = getattr(error, "missing_cfg_file", None) or _first_line(error)
    options = getattr(error, "options", None)
    group, _, choice = str(missing).rpartition("/")
    if not options or not group:
        return _first_line(error)
    extra = "launchers" if choice.startswith(("joblib", "submitit")) else ""
    if group == "hydra/launcher" and extra:
        return f"{group}={choice} needs another package: pip install 'captionlab[{extra}]'"
    # Hydra lists sub-groups beside files; only files can be chosen
    files = {path.stem for path in (config_dir() / group).glob("*.yaml")}
    known = sorted(files & set(options) or options)
    return (
        f"{group}={choice}: there is no such choice; {did_you_mean(choice, known)} "
        f"(there are: {', '.join(known)})"
    )


def _explain_key(text: str, cause: str) -> str:
    """Return the sentence for a key that the configuration does not have."""
    key = _quoted(text) or _quoted(cause) or text
    parent, _, leaf = key.rpartition(".")
    siblings = _known_keys(parent)
    hint = f"; {did_you_mean(leaf, siblings)}" if siblings else ""
    return f"{key}: the configuration has no such key{hint} (a new key is added with +{key}=...)"


def _quoted(text: str) -> str:
    for quote in ("'", '"'):
        if text.count(quote) >= 2:
            return text.split(quote)[1]
    return ""


def _known_keys(parent: str) -> list[str]:
    config = compose()
    node = OmegaConf.select(config, parent) if parent else config
    return (
        [str(k) for k in node if not str(k).startswith("_")] if isinstance(node, DictConfig) else []
    )


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
        raise UserError(f"{key}: {_first_line(error)}") from error


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


def build_data(data: Mapping[str, Any]) -> Any:
    """Return the LightningDataModule of a data configuration."""
    return build({k: v for k, v in data.items() if k not in LABELS["data"]}, "data")


# --- overriding a stored configuration ------------------------------------------------------------


def override(
    stored: Mapping[str, Any],
    overrides: Sequence[str],
    groups: Sequence[str],
    settings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a stored configuration with command-line overrides applied.

    Args:
        stored: the resolved configuration of a checkpoint.
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
        for group in {key.split("/")[0] for key in chosen}:
            OmegaConf.update(config, group, OmegaConf.select(composed, group), merge=False)
    OmegaConf.set_struct(config, True)
    for key, value in values.items():
        try:
            OmegaConf.update(config, key, value, merge=False)
        except OmegaConfBaseException as error:
            parent, _, leaf = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            known = list(node) if isinstance(node, DictConfig) else list(config)
            raise UserError(
                f"{key}: there is no such key here; {did_you_mean(leaf, map(str, known))}"
            ) from error
    return resolve(config)


def _split_overrides(
    overrides: Sequence[str], groups: Sequence[str], settings: Sequence[str]
) -> tuple[dict[str, str], dict[str, Any]]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except Exception as error:
        raise UserError(f"An override cannot be read: {_first_line(error)}") from error
    chosen: dict[str, str] = {}
    values: dict[str, Any] = {}
    for item in parsed:
        key = item.key_or_group
        top = key.replace("/", ".").split(".")[0]
        if top not in (*groups, *settings):
            raise UserError(f"{key} cannot be set here; {did_you_mean(top, (*groups, *settings))}")
        if key in groups or "/" in key:
            chosen[key] = str(item.value())
        else:
            values[key] = item.value()
    return chosen, values
