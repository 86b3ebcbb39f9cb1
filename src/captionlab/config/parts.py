"""Which parts a run needs, and that a part stands where one belongs."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

from captionlab.config.folder import choices
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.registry import PLACES, TRAINING_PLACES, Place

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
    raw: object = OmegaConf.to_container(config, resolve=False)
    for key, place in {**PLACES, **TRAINING_PLACES}.items():
        *path, name = key.split(".")
        parent = _select(raw, path)
        if not isinstance(parent, Mapping):
            continue  # the parent's own place reports it, or it is a part that nobody chose
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
        elif value != "???" and "${" not in str(value):  # resolve() asks for it, or follows it
            raise UserError(explain_value(key, place, value))


def _select(node: object, path: list[str]) -> object:
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def explain_value(key: str, place: Place, value: object) -> str:
    """Return the sentence for a text or a number that stands where a part belongs."""
    group = key.replace(".", "/")
    known = choices(group)
    mistake = f"{key}={value}: {_a(place.kind)} belongs there"
    if str(value) in known:
        return f"{mistake}; a choice is made with a slash: {group}={value}"
    if known:
        return f"{mistake}; choose one with {group}=NAME: {did_you_mean(str(value), known)}"
    owners = (k.replace(".", "/") for k, p in PLACES.items() if p is place)
    owner = next((one for one in owners if choices(one)), key.split(".")[0])
    return f"{mistake}; it comes with {owner}=NAME, and {key}.KEY=VALUE changes a value of it"


def _choose(key: str) -> str:
    group = key.replace(".", "/")
    known = ", ".join(choices(group))
    return f"choose one with {group}=NAME ({known})" if known else "name one"


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
