"""Explain in one sentence what Hydra, OmegaConf or the operating system refuses."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from captionlab.config.folder import choices, compose_by_hydra, groups
from captionlab.config.override_syntax import explain_comma, explain_override
from captionlab.config.parts import explain_value
from captionlab.config.search_path import added_dirs, yaml_files
from captionlab.core.errors import UserError, about_file, did_you_mean, first_line
from captionlab.core.registry import PLACES, TRAINING_PLACES


def explain(error: BaseException, overrides: Sequence[str] = ()) -> str | None:
    """Return one sentence for an error of Hydra, OmegaConf or a file that the user can mend, else None.

    ``overrides`` are what the user typed.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, yaml.MarkedYAMLError) and _raised_in_hydra(error):
        return _explain_yaml(error)
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
    return name.startswith(("hydra._internal.", "hydra.core.", "omegaconf.", "yaml."))


def _explain_yaml(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{mark.name}, line {mark.line + 1}" if mark is not None else "a YAML file"
    return f"{where}: this is no YAML: {error.problem or error.context}"


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
        return explain_value(key, PLACES[key], typed.partition("=")[2])
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
        return explain_value(key, place, value)
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
    chosen = [one for one in overrides if one.partition("=")[0] in groups()]
    try:
        return compose_by_hydra(chosen)
    except Exception:  # one of them is the mistake that is being explained
        return compose_by_hydra()


def _all_keys(node: object, key: str = "") -> Iterator[str]:
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
    known = sorted(set(choices(group)) & set(options) or options)
    return f"{group}={choice}: there is no such choice; {_hint_of_choice(group, choice, known)}"


def _hint_of_choice(group: str, choice: str, known: Sequence[str]) -> str:
    """Return where a choice was likelier meant to be: in a project's other folder, or among ours."""
    for folder in added_dirs():
        wrong = folder / group / f"{choice}.yml"
        if wrong.is_file():
            return f"{wrong} is not read: rename it to {choice}.yaml"
        for name in yaml_files(folder):
            if name.stem == choice:
                return f"{folder / name} is of {name.parent}: it belongs into {folder / group}"
    hint = did_you_mean(choice, known)
    if hint.startswith("did you mean"):
        return f"{hint} (there are: {', '.join(known)})"
    return hint if added_dirs() else f"{hint}; one of your own is found with --config-dir FOLDER"


def _quoted(text: str) -> str:
    for quote in ("'", '"'):
        if text.count(quote) >= 2:
            return text.split(quote)[1]
    return ""


def _known_keys(parent: str, config: DictConfig | None = None) -> list[str]:
    config = compose_by_hydra() if config is None else config
    node = OmegaConf.select(config, parent) if parent else config
    return (
        [str(k) for k in node if not str(k).startswith("_")] if isinstance(node, DictConfig) else []
    )
