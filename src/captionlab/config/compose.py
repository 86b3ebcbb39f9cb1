"""Compose a configuration from conf/, and explain in one sentence what cannot be composed."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from captionlab.config.override_syntax import as_readable_arguments, explain_comma, explain_override
from captionlab.core.errors import UserError, about_file, did_you_mean, first_line
from captionlab.core.registry import PLACES, TRAINING_PLACES, Place


def config_dir() -> Path:
    """Return the folder of the YAML files: inside an installed wheel, or beside ``src`` in a checkout."""
    package = Path(__file__).parents[1]
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
        # nothing but Hydra's own code runs here, on what was typed
        sentence = explain(error, overrides) or f"{' '.join(overrides)}: {first_line(error)}"
        raise UserError(sentence) from error


# --- parts ----------------------------------------------------------------------------------------

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


# --- explanations ---------------------------------------------------------------------------------


def explain(error: BaseException, overrides: Sequence[str] = ()) -> str | None:
    """Return one sentence for an error of Hydra, OmegaConf or a file that the user can mend, else None.

    ``overrides`` are what the user typed.
    """
    if isinstance(error, UserError):
        return str(error)
    module = type(error).__module__
    if not module.startswith(("hydra", "omegaconf")):  # one of these is an OSError too
        if isinstance(error, OSError) and (sentence := about_file(error)) is not None:
            return sentence
        return first_line(error) if _raised_in_hydra(error) else None
    if isinstance(error, OverrideParseException):
        return explain_override(error.override)
    cause = error.__cause__
    text = first_line(error)
    if isinstance(error, MissingConfigException):
        return _explain_choice(error)
    for marker, explanation in _EXPLANATIONS:
        for message in (text, str(cause)):
            if marker in message:
                return explanation(message, text, overrides)
    if cause is not None and isinstance(cause, OmegaConfBaseException):
        return f"{text.rstrip('.')}: {first_line(cause)}"
    return text


def _raised_in_hydra(error: BaseException) -> bool:
    """Return whether Hydra's own code raised it: that reads nothing but what the user typed."""
    frames = list(traceback.walk_tb(error.__traceback__))
    name = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    return name.startswith(("hydra._internal.", "hydra.core.", "omegaconf."))


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
    hint = nearest_keys(key, config, _known_keys(parent, config))
    return f"{key}: the configuration has no such key{hint} (a new key is added with +{key}=...)"


def nearest_keys(key: str, config: DictConfig, siblings: Iterable[str]) -> str:
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


def _explain_choice(error: BaseException) -> str:
    missing = getattr(error, "missing_cfg_file", None) or first_line(error)
    options = getattr(error, "options", None)
    group, _, choice = str(missing).rpartition("/")
    if not options or not group:
        return first_line(error)
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
