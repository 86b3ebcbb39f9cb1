"""What everything from Hugging Face shares: finding a model's files, or building it bare."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

from captionlab.errors import UserError, did_you_mean

_SECONDS_TO_ANSWER = 3.0


def transformers(who: str) -> Any:
    """Return the transformers package, silenced; UserError if it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"{who} needs transformers: pip install 'captionlab[huggingface]'"
        ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def load_config(who: str, name: str, architecture: Mapping[str, Any] | None) -> Any:
    """Return the configuration of a model by its entries, or by name or path without them.

    Raises:
        UserError: for an unknown ``model_type``, and a model that cannot be had.
    """
    library = transformers(who)
    if architecture is None:
        with looking_for(who, name):
            return library.AutoConfig.from_pretrained(name)
    entries = dict(architecture)
    kind = entries.pop("model_type", None)
    known = library.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if kind not in known:
        raise UserError(f"{who}.architecture.model_type={kind!r}: {did_you_mean(str(kind), known)}")
    return library.AutoConfig.for_model(kind, **entries)


def entries_of(config: Any) -> dict[str, Any]:
    """Return a configuration as plain entries, from which ``load_config`` makes it again."""
    entries: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    for history in ("transformers_version", "_name_or_path", "dtype", "architectures"):
        entries.pop(history, None)
    return {**entries, "model_type": config.model_type}


def pretrained(who: str, factory: Any, name: str, **more: Any) -> Any:
    """Return ``factory.from_pretrained(name)`` in float32; UserError if it cannot be had."""
    with looking_for(who, name):
        return factory.from_pretrained(name, dtype="float32", **more)


@contextmanager
def looking_for(who: str, name: str) -> Iterator[None]:
    """Say in one sentence what cannot be had, and without the library's minute of retries."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    except Exception as error:  # each of the many libraries behind it raises its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"{who}.name={name}: there is no such model in Hugging Face's cache or hub, and no "
            f"folder of that name that holds one ({lines[0] if lines else type(error).__name__})"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(endpoint: str) -> bool:
    if urllib.request.getproxies():
        return True  # only the proxy can tell
    address = urlparse(endpoint)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), _SECONDS_TO_ANSWER).close()
    except OSError:
        return False
    return True
