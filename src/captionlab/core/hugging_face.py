"""What everything from Hugging Face shares: finding a model's files, or building it bare."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import urlparse

from captionlab.core.errors import UserError, did_you_mean, first_line

_SECONDS_TO_ANSWER = 3.0

# What a file may ask the library to build: these are made of their entries alone. Others wrap a
# backbone that is looked for by name, or need packages and kernels from elsewhere.
_IMAGE_TYPES = """
beit bit chinese_clip chinese_clip_vision_model clip clip_vision_model convnext convnextv2 cvt
data2vec-vision deit dinat dinov2 dinov2_with_registers dinov3_convnext dinov3_vit efficientnet
focalnet hiera ijepa levit mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 poolformer pvt pvt_v2
regnet resnet siglip siglip_vision_model siglip2 siglip2_vision_model swiftformer swin swinv2 vit
vit_mae vit_msn chinese_clip_text_model clip_text_model siglip_text_model siglip2_text_model
"""
_LANGUAGE_TYPES = """
arcee biogpt bloom codegen cohere ctrl ernie4_5 exaone4 falcon gemma gemma2 gemma3_text glm glm4 gpt2
gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gptj granite helium hunyuan_v1_dense llama mistral mpt
nemotron olmo olmo2 olmo3 openai-gpt opt persimmon phi phi3 qwen2 qwen3 seed_oss smollm3 stablelm
starcoder2 xglm
"""
_CAPTIONER_TYPES = """
bert blip blip_text_model blip_vision_model git git_vision_model roberta trocr vision-encoder-decoder
"""
MODEL_TYPES = frozenset((_IMAGE_TYPES + _LANGUAGE_TYPES + _CAPTIONER_TYPES).split())
# entries by which the library looks elsewhere, or runs other code than its own
_ELSEWHERE_KEYS = """
auto_map trust_remote_code name_or_path _name_or_path code_revision custom_pipelines
quantization_config attn_implementation _attn_implementation _attn_implementation_internal
experts_implementation _experts_implementation use_kernels backbone backbone_config backbone_kwargs
use_timm_backbone use_pretrained_backbone adapter_kwargs peft_config tokenizer_name
pretrained_model_name_or_path
"""
_ELSEWHERE = frozenset(_ELSEWHERE_KEYS.split())
# the sizes of these are the library's own defaults for their type: nothing to look for
KNOWN: Mapping[str, Mapping[str, object]] = {
    "gpt2": {"model_type": "gpt2"},
    "Salesforce/blip-image-captioning-base": {"model_type": "blip"},
}


class ModelConfig(Protocol):
    """A configuration of the library's, as far as it is read here."""

    model_type: str

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return its entries; with ``use_diff`` those that are no defaults."""
        ...


class Factory(Protocol):
    """One of the library's ``Auto`` classes."""

    def from_pretrained(self, name: str, **more: object) -> Any:
        """Return the model of a name or a folder: a class that the library looks up itself."""


def require_offline(where: str, part: Mapping[str, object], trusted: Iterable[str] = ()) -> None:
    """Check that a part which Hugging Face builds is made of its entries alone.

    Args:
        where: the part stands, for messages. part: its settings, with ``architecture``.
        trusted: model types beside ``MODEL_TYPES``.

    Raises:
        UserError: if it would be looked for by its name, or an entry names something else.
    """
    entries = part.get("architecture")
    if entries is None and part.get("name", "gpt2") in KNOWN:
        return
    if not isinstance(entries, Mapping):
        raise UserError(
            f"{where}.architecture={entries!r:.60}: the sizes of {part.get('name')} are not in the "
            "file, and a model is not looked for by a name that a file holds."
        )
    known = MODEL_TYPES | set(trusted)
    if "model_type" not in entries:
        raise UserError(f"{where}.architecture has no model_type.")
    for key, value in _entries(entries, f"{where}.architecture"):
        name = key.rpartition(".")[2]
        if name in _ELSEWHERE and value not in (None, False):
            raise UserError(f"{key}={value!r:.60} cannot stand in a file: it leads out of it.")
        if name == "model_type" and value not in known:
            raise UserError(
                f"{key}={value!r:.60} is no model type that a file is trusted with "
                f"({did_you_mean(str(value), known)}): if you know it, say "
                f"trust=transformers.models.{value}"
            )


def _entries(node: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield f"{key}.{name}", child
            yield from _entries(child, f"{key}.{name}")
    elif isinstance(node, list):
        for child in node:
            yield from _entries(child, key)


def transformers(who: str) -> ModuleType:
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


def load_config(who: str, name: str, architecture: Mapping[str, object] | None) -> ModelConfig:
    """Return the configuration of a model by its entries, or by name or path without them.

    Of a name in ``KNOWN`` it is the library's default: nothing is looked for.

    Raises:
        UserError: for an unknown ``model_type``, an entry that it does not take, and a model that
            cannot be had.
    """
    library = transformers(who)
    architecture = KNOWN.get(name) if architecture is None else architecture
    if architecture is None:
        with looking_for(who, name):
            return library.AutoConfig.from_pretrained(name)
    entries = deepcopy(dict(architecture))  # some versions take out of it what they read
    kind = entries.pop("model_type", None)
    known = library.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if kind not in known:
        raise UserError(f"{who}.architecture.model_type={kind!r}: {did_you_mean(str(kind), known)}")
    try:
        return library.AutoConfig.for_model(kind, **entries)
    except Exception as error:  # its checks of entries raise kinds of their own
        reason = " ".join(str(error).split())
        raise UserError(f"{who}.architecture is none of a {kind}: {reason:.200}") from error


def entries_of(config: ModelConfig) -> dict[str, object]:
    """Return a configuration as plain entries, from which ``load_config`` makes it again."""
    entries = _without_history(json.loads(config.to_json_string(use_diff=True)))
    return {**entries, "model_type": config.model_type}


def _without_history(entries: Mapping[str, Any]) -> dict[str, object]:
    """Return entries without where a model, or a part of it, came from and how it was stored."""
    history = ("transformers_version", "_name_or_path", "dtype", "architectures")
    return {
        name: _without_history(value) if isinstance(value, Mapping) else value
        for name, value in entries.items()
        if name not in history
    }


def pretrained(who: str, factory: Factory, name: str, **more: object) -> Any:
    """Return ``factory.from_pretrained(name)`` in float32; UserError if it cannot be had."""
    with looking_for(who, name):
        return factory.from_pretrained(name, dtype="float32", **more)


@contextmanager
def looking_for(who: str, name: str) -> Iterator[None]:
    """Say in one sentence what cannot be had, and without the library's minute of retries."""
    with offline_where_unreachable():
        try:
            yield
        except Exception as error:  # each of the many libraries behind it raises its own
            raise UserError(
                f"{who}.name={name}: there is no such model in Hugging Face's cache or hub, and no "
                f"folder of that name that holds one ({first_line(error)})"
            ) from error


@contextmanager
def offline_where_unreachable() -> Iterator[bool]:
    """Let Hugging Face's libraries ask nobody where the hub does not answer; give whether it does."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield not constants.HF_HUB_OFFLINE
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
