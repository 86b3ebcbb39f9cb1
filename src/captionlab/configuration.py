"""Compose, resolve, instantiate: the one place of the library that knows OmegaConf.

A configuration is checked whole (``captionlab.signatures``) before anything is built.
"""

from __future__ import annotations

import functools
import inspect
import logging
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from captionlab.config_references import keep, references
from captionlab.errors import UserError, about_file, did_you_mean
from captionlab.overrides import (
    as_readable_arguments,
    explain_comma,
    explain_override,
    parse_override,
)
from captionlab.registry import PLACES, TRAINING_PLACES, Place
from captionlab.signatures import LABELS, locate

CAPTIONER = "captionlab.models.captioner.Captioner"  # unless a model's YAML names another class
# of the text package, which this module does not import
FILL_WORDS = "captionlab.text.word_vectors.fill"

log = logging.getLogger("captionlab")


def config_dir() -> Path:
    """Return the folder of the YAML files: inside an installed wheel, or beside ``src`` in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "conf", package.parent.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"No conf/train.yaml inside {package} or beside its source folder.")


@functools.cache
def groups() -> frozenset[str]:
    """Return the names of all groups: the folders of YAML files, with slashes."""
    folders = {path.parent.relative_to(config_dir()) for path in config_dir().rglob("*.yaml")}
    return frozenset(folder.as_posix() for folder in folders) - {"."}


def compose(overrides: Sequence[str] = (), config_name: str = "train") -> DictConfig:
    """Return the configuration that the command line ``python train.py OVERRIDES`` would get.

    Raises:
        UserError: for a wrong group choice, a mistyped key or an unreadable override.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra_compose(config_name, overrides=as_readable_arguments(overrides, groups()))
    except Exception as error:
        sentence = explain(error, overrides)
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


def with_references(config: DictConfig, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration as it is written down: with its references, where possible."""
    found: dict[str, Any] = keep(OmegaConf.to_container(config, resolve=False), resolved)
    return found


REQUIRED = (
    *("model", "model.encoder", "model.decoder", "model.attention", "decoding"),
    *("data", "data.source", "data.tokenizer", "objective", "optimizer", "trainer"),
)
# whose own keys are parts, or names of parts
_COLLECTIONS = ("model", "callbacks", "logger")


def require_parts(config: DictConfig) -> None:
    """Check that a part stands wherever a run needs one; null becomes none where that can be.

    Raises:
        UserError: for a text or a number in a part's place, as ``data.tokenizer=character`` puts it
            there, and for a part that is left out.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    for key, place in {**PLACES, **TRAINING_PLACES}.items():
        *path, name = key.split(".")
        parent = raw
        for step in path:
            parent = parent.get(step) if isinstance(parent, Mapping) else None
        if not isinstance(parent, Mapping):
            continue  # said of the parent, or a part that nobody chose
        value = parent.get(name)
        if value is None or value == []:
            if key in REQUIRED:
                raise UserError(f"{key}=null: a run needs {_a(place.kind)}; {_choose(key)}")
            if place.optional and not path:
                OmegaConf.update(config, key, None, force_add=True)
        elif isinstance(value, Mapping):
            if key not in _COLLECTIONS and "_target_" not in value:
                raise UserError(
                    f"{key} has no _target_, the class of its {place.kind}; {_choose(key)}"
                )
        elif value != "???" and "${" not in str(value):  # asked for, or followed, by resolve()
            raise UserError(_explain_text(key, place, value))


def _explain_text(key: str, place: Place, value: Any) -> str:
    choices = _choices(key)
    said = f"{key}={value}: {_a(place.kind)} belongs there"
    group = key.replace(".", "/")
    if str(value) in choices:
        return f"{said}; a choice is made with a slash: {group}={value}"
    if choices:
        return f"{said}; choose one with {group}=NAME: {did_you_mean(str(value), choices)}"
    own = next((k for k, p in PLACES.items() if p is place and _choices(k)), key.split(".")[0])
    return f"{said}; it comes with {own.replace('.', '/')}=NAME, and {key}.KEY=VALUE changes a value of it"


def _choices(key: str) -> list[str]:
    folder = config_dir() / key.replace(".", "/")
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _choose(key: str) -> str:
    choices = ", ".join(_choices(key))
    return f"choose one with {key.replace('.', '/')}=NAME ({choices})" if choices else "name one"


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


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


def explain(error: BaseException, overrides: Sequence[str] = ()) -> str | None:
    """Return one sentence for an error of Hydra, OmegaConf or a file that the user can mend, else None.

    ``overrides`` are what the user typed.
    """
    if isinstance(error, UserError):
        return str(error)
    module = type(error).__module__
    if not module.startswith(("hydra", "omegaconf")):  # one of these is an OSError too
        return about_file(error) if isinstance(error, OSError) else None
    if isinstance(error, OverrideParseException):
        return explain_override(error.override)
    cause = error.__cause__
    text = _first_line(error)
    if isinstance(error, MissingConfigException):
        return _explain_choice(error)
    for marker, explanation in _EXPLANATIONS:
        for message in (text, str(cause)):
            if marker in message:
                return explanation(message, text, overrides)
    if cause is not None and isinstance(cause, OmegaConfBaseException):
        return f"{text.rstrip('.')}: {_first_line(cause)}"
    return text


def _explain_ambiguous(message: str, text: str, overrides: Sequence[str]) -> str:
    return explain_comma(_quoted(message))


def _explain_append(message: str, text: str, overrides: Sequence[str]) -> str:
    key = _quoted(message)
    typed = next((one for one in overrides if one.lstrip("+").startswith(f"{key}=")), f"{key}=...")
    return f"{typed}: {key} is there already; say {typed.lstrip('+')}, without the +"


def _explain_delete(message: str, text: str, overrides: Sequence[str]) -> str:
    key = _quoted(message)
    parent, _, leaf = key.rpartition(".")
    return f"~{key}: there is nothing to leave out; {did_you_mean(leaf, _known_keys(parent))}"


def _explain_key(message: str, text: str, overrides: Sequence[str]) -> str:
    """Return the sentence for a key that the configuration does not have."""
    key = _quoted(text) or _quoted(message) or text
    parent = key.rpartition(".")[0]
    typed = next((one for one in overrides if one.startswith(f"{key}=")), None)
    if typed and key in PLACES:
        return _explain_text(key, PLACES[key], typed.partition("=")[2])
    for group in (one.removeprefix("~").removesuffix("=null") for one in overrides):
        if {f"~{group}", f"{group}=null"} & set(overrides) and key.startswith(
            f"{group.replace('/', '.')}."
        ):
            return f"{group}=null leaves nothing that {key} could change: leave one of the two out"
    config = _with_choices(overrides)
    hint = _nearest_keys(key, config, _known_keys(parent, config))
    return f"{key}: the configuration has no such key{hint} (a new key is added with +{key}=...)"


def _nearest_keys(key: str, config: DictConfig, siblings: Iterable[str]) -> str:
    """Return a hint: the same name elsewhere is likelier to be meant than a similar one here."""
    parent, _, leaf = key.rpartition(".")
    here = sorted(siblings)
    same = [k for k in _all_keys(config) if k.rpartition(".")[2] == leaf and k != key]
    if same:
        return f"; did you mean {' or '.join(same[:3])}? ({parent} has {', '.join(here)})"
    return f"; {did_you_mean(leaf, here)}" if here else ""


def _explain_merge(message: str, text: str, overrides: Sequence[str]) -> str:
    typed = text.removeprefix("Error merging override ")
    key, _, value = typed.partition("=")
    place = {**PLACES, **TRAINING_PLACES}.get(key)
    if place is not None:
        return _explain_text(key, place, value)
    return (
        f"{typed}: {key} is not what a list can stand for; set its values one by one, {key}.KEY=..."
    )


_EXPLANATIONS = (
    ("Cannot merge DictConfig with ListConfig", _explain_merge),
    ("Ambiguous value for argument", _explain_ambiguous),
    ("Could not append to config", _explain_append),
    ("Could not delete from config", _explain_delete),
    ("not in struct", _explain_key),
)


def _with_choices(overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of the group choices among overrides; the default one if that fails."""
    choices = [one for one in overrides if one.partition("=")[0] in groups()]
    try:
        return compose(choices)
    except UserError:
        return compose()


def _all_keys(node: Any, key: str = "") -> Iterator[str]:
    for name, child in node.items_ex(resolve=False) if isinstance(node, DictConfig) else ():
        inner = f"{key}.{name!s}" if key else str(name)
        yield inner
        yield from _all_keys(child, inner)


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


def _quoted(text: str) -> str:
    for quote in ("'", '"'):
        if text.count(quote) >= 2:
            return text.split(quote)[1]
    return ""


def _known_keys(parent: str, config: DictConfig | None = None) -> list[str]:
    config = compose() if config is None else config
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
    return f"{key}: there is no such key here{_nearest_keys(key, config, map(str, known))}"


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
