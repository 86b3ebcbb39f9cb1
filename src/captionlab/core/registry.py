"""The places of a configuration where a part belongs, and what a file may name there.

A configuration that its user wrote may name any class. One that comes out of a file, such as a
checkpoint of a stranger, may name at each place the classes of captionlab listed here (those of
``conf/``), and what the user trusts by name; a class is taken only if it is of the kind that its
place wants. All of this is decided before anything is called.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from captionlab.core.errors import UserError
from captionlab.core.targets import locate, targets


@dataclass(frozen=True)
class Place:
    """What belongs at a key: the ``kind`` in words, ``classes`` by name, a test of any other class.

    ``optional``: null stands for none.
    """

    kind: str
    classes: tuple[str, ...] = ()
    is_kind: Callable[[object], bool] = lambda cls: False
    optional: bool = False


def _is_module(cls: object, methods: Sequence[str] = (), runtime: Sequence[str] = ()) -> bool:
    """Return whether a class, or what a function builds, is a module with these methods.

    ``runtime``: what the constructor, or the function, must take.
    """
    from torch import nn

    built = _built_class(cls)
    if not (callable(cls) and inspect.isclass(built) and issubclass(built, nn.Module)):
        return False
    parameters = inspect.signature(cls).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return all(hasattr(built, name) for name in methods) and (
        takes_all or set(runtime) <= set(parameters)
    )


def _built_class(call: object) -> object:
    """Return a class itself, and of a builder function the class that it says it builds."""
    return typing.get_type_hints(call).get("return") if inspect.isfunction(call) else call


def _is_encoder(cls: object) -> bool:
    built = _built_class(cls)
    other = any(hasattr(built, name) for name in ("step", "logits", "keys", "targets"))
    if not (_is_module(cls) and inspect.isclass(built)):
        return False
    # what needs the width of a memory stands behind an encoder; one with a default may be its own
    width = inspect.signature(cls).parameters.get("memory_dim") if callable(cls) else None
    behind = width is not None and width.default is width.empty
    return "forward" in _own_methods(built) and not other and not behind


def _own_methods(cls: type) -> set[str]:
    """Return what a module's class defines beyond ``torch.nn``, whose layers see no images."""
    return {
        name
        for base in inspect.getmro(cls)
        if not base.__module__.startswith("torch.nn")
        for name in vars(base)
    }


def _is_plain(cls: object, methods: Sequence[str]) -> bool:
    return inspect.isclass(cls) and all(callable(getattr(cls, name, None)) for name in methods)


def _is_fit(function: object) -> bool:
    return inspect.ismethod(function) and _is_plain(
        function.__self__, ("encode", "decode", "to_dict")
    )


def _in(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"captionlab.{module}.{name}" for name in names)


_SOURCES = (
    *_in("data.readers", "Shapes", "Coco", "Flickr8k", "Flickr30k", "CocoOfficial", "Karpathy"),
    *_in("data.readers", "CsvCaptions", "JsonlCaptions", "Flickr8kPublished"),
    *_in("data.readers", "Flickr8kCaptionsTxt", "Flickr8kCN", "Flickr30kPublished"),
    *_in("data.readers", "Auto", "TableCaptions", "JsonCaptions", "Sidecars", "PascalSentences"),
    *_in("data.readers", "ImageFolder", "ParquetCaptions", "SavedDataset", "Conversations"),
    *_in("data.readers", "ShapesQuestions", "ShapesStyles", "VqaV2", "Joined"),
)
_SOURCE = Place("caption source", _SOURCES, lambda cls: _is_plain(cls, ("records",)))

# What may stand in a file, by key.
PLACES: Mapping[str, Place] = {
    "model": Place(
        "captioner",
        _in("models", "Captioner"),
        lambda cls: _is_module(
            cls, ("encode", "logits", "init_state", "step"), ("encoder", "decoder")
        ),
    ),
    "model.encoder": Place(
        "encoder",
        _in(
            "models.encoders",
            *("SmallCNN", "TorchvisionEncoder", "TimmEncoder"),
            *("HuggingFaceEncoder", "StoredEncoder", "CaptionerVision"),
        ),
        _is_encoder,
    ),
    "model.decoder": Place(
        "decoder",
        _in(
            "models.decoders",
            *("rnn_decoder", "latent_decoder", "att2in", "up_down", "adaptive", "aoa"),
            *("TransformerDecoder", "LanguageModelDecoder", "PrefixDecoder", "CaptionerText"),
            "NearestDecoder",
        ),
        lambda cls: _is_module(
            cls,
            ("logits", "init_state", "step"),
            ("vocabulary_size", "pad_id", "memory_dim", "attention"),
        ),
    ),
    "model.attention": Place(
        "attention",
        _in(
            "models.attention",
            *("NoAttention", "AdditiveAttention", "GatedAdditiveAttention", "DotAttention"),
            *("MultiHeadAttention", "AttentionOnAttention", "AdaptiveAttention", "HardAttention"),
        ),
        lambda cls: _is_module(cls, (), ("query_dim", "memory_dim")),
    ),
    "model.connector": Place(
        "connector",
        _in("models.connectors", "LinearConnector", "QFormerConnector"),
        lambda cls: _is_module(cls, ("forward",), ("memory_dim",)),
        optional=True,
    ),
    "model.retrieval": Place(
        "retrieval",
        _in("models.retrieval", "CaptionRetrieval"),
        lambda cls: _is_module(cls, ("prompts",), ("pooled_dim", "vocabulary_size")),
        optional=True,
    ),
    "model.tags": Place(
        "tag head",
        _in("models", "TagHead"),
        lambda cls: _is_module(cls, ("targets",), ("words", "memory_dim")),
        optional=True,
    ),
    "decoding": Place(
        "decoding method",
        _in("decoding", "Greedy", "Beam", "Sampling"),
        lambda cls: _is_plain(cls, ("__call__",)) and not _is_module(cls),
    ),
    "data": Place(
        "data module",
        _in("data", "CaptionDataModule"),
        lambda cls: _is_plain(cls, ("records", "test_dataloader")),
    ),
    "data.source": _SOURCE,
    "data.extra.source": _SOURCE,
    "data.tokenizer": Place(
        "tokenizer",
        _in(
            "text",
            *("WordTokenizer.fit", "CharacterTokenizer.fit"),
            *("SubwordTokenizer.fit", "PretrainedTokenizer.fit"),
        ),
        _is_fit,
    ),
    "data.augment": Place(
        "image augmentation",
        _in("data", "Augment"),
        lambda cls: _is_plain(cls, ("vary",)),
        optional=True,
    ),
    "data.extra": Place(
        "extra source",
        _in("data", "Extra"),
        lambda cls: _is_plain(cls, ("records",)),
        optional=True,
    ),
}

# All of them, wherever they may stand.
LISTED = frozenset(name for place in PLACES.values() for name in place.classes)

# Where else a user's configuration has parts; a file's are never built.
TRAINING_PLACES: Mapping[str, Place] = {
    "objective": Place("objective"),
    "objective.first": Place("objective"),
    "objective.then": Place("objective"),
    "objective.discriminator": Place("discriminator"),
    "objective.reward": Place("reward"),
    "objective.then.reward": Place("reward"),
    "optimizer": Place("optimizer"),
    "scheduler": Place("learning-rate schedule", optional=True),
    "trainer": Place("trainer"),
    "callbacks": Place("set of callbacks", optional=True),
    "logger": Place("set of loggers", optional=True),
}

# of what `instantiate` reads in a node, what a file may hold
_DIRECTIVES = {"_target_", "_partial_"}
# whose packages nobody can trust as a whole: much in them runs what it is told
_LIBRARIES = frozenset(
    {*sys.stdlib_module_names, "builtins", "captionlab", "hydra", "hydra_plugins", "omegaconf"}
    | {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning", "numpy", "PIL"}
    | {"lightning_fabric", "timm", "transformers", "tokenizers", "huggingface_hub", "safetensors"}
    | {"peft", "accelerate"}
    | {"wandb", "optuna", "pycocoevalcap", "yaml", "rich", "h5py", "fsspec", "setuptools", "pip"}
)


def require_allowed(
    config: Mapping[str, object],
    trust: Iterable[str] = (),
    stored: Mapping[str, object] | None = None,
) -> None:
    """Check every ``_target_`` of a configuration that comes out of a file, before any is imported.

    Args:
        config: plain dicts with the keys of ``PLACES``.
        trust: exact names of classes, or packages of the user's own, that it may name besides.
        stored: the file's own configuration where ``config`` is what overrides made of it: what
            they put in its place is the user's.

    Raises:
        UserError: for a class that is neither listed nor trusted, or of another kind than its place
            wants, and for a whole library in ``trust``.
    """
    if isinstance(trust, str):
        raise UserError(f"trust={trust!r}: a list belongs there: trust=[{trust!r}]")
    trust = tuple(_checked_trust(trust))
    of_file = dict(targets(config if stored is None else stored))
    for key, node in targets(config):
        if of_file.get(key, {}).get("_target_") != node["_target_"]:
            continue
        _require_directives(key, node)
        target, place = node["_target_"], place_of(key)
        if not isinstance(target, str):
            raise UserError(f"{key}._target_={target!r} is not the dotted name of a class.")
        if place is not None and target in place.classes:
            continue
        if not _is_trusted(target, trust):
            raise UserError(_refusal(key, target, place))
        part = locate(target)
        if not (_is_module(part) if place is None else place.is_kind(part)):
            kind = "module" if place is None else place.kind
            raise UserError(
                f"{key}._target_={target} is trusted, and is no class of the kind that belongs "
                f"there ({kind})."
            )


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def is_listed(config: Mapping[str, object]) -> bool:
    """Return whether a configuration names captionlab's own classes alone."""
    return all(_is_listed_at(key, node["_target_"]) for key, node in targets(config))


def unlisted(config: Mapping[str, object]) -> list[str]:
    """Return what ``trust`` must name for this configuration: modules, classes of whole libraries."""
    places = ((key, str(node["_target_"])) for key, node in targets(config))
    foreign = (target for key, target in places if not _is_listed_at(key, target))
    return list(dict.fromkeys(map(_trusted_name, foreign)))


def _trusted_name(target: str) -> str:
    top = target.partition(".")[0]
    return target if top in _LIBRARIES else top


def _is_listed_at(key: str, target: object) -> bool:
    place = place_of(key)
    return place is not None and target in place.classes


def place_of(key: str) -> Place | None:
    """Return what may stand at a key of a file, None where nothing may."""
    # the sources that ``Joined`` joins have names of the user's
    return _SOURCE if re.fullmatch(r"data\.source\.sources\.[^.]+", key) else PLACES.get(key)


def _checked_trust(trust: Iterable[str]) -> Iterator[str]:
    for name in trust:
        stripped = str(name).strip().rstrip(".")
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", stripped):
            hint = "; overrides go before --trust" if "=" in stripped else ""
            raise UserError(f"trust={name!r} is not the dotted name of a class or a package{hint}.")
        if stripped in _LIBRARIES:
            raise UserError(
                f"trust={name}: a whole library cannot be trusted, as it can run anything; "
                "name the exact class that you know."
            )
        yield stripped


def _is_trusted(target: str, trust: Sequence[str]) -> bool:
    whole = target.split(".")[0] not in _LIBRARIES
    return any(target == name or (whole and target.startswith(f"{name}.")) for name in trust)


def _require_directives(key: str, node: Mapping[str, object]) -> None:
    for name in node:
        if name.startswith("_") and name.endswith("_") and name not in _DIRECTIVES:
            raise UserError(f"{key}.{name} cannot stand in a file: it would change what is called.")
    if not isinstance(node.get("_partial_", False), bool):
        raise UserError(f"{key}._partial_={node['_partial_']!r} is neither true nor false.")


def _refusal(key: str, target: str, place: Place | None) -> str:
    other = next((p.kind for p in PLACES.values() if target in p.classes), None)
    if place is not None and other is not None:
        expected = _with_article(place.kind)
        return f"{key}._target_={target} is {_with_article(other)}, and {expected} belongs there."
    where = "nothing can be named there" if place is None else f"there are: {_short(place.classes)}"
    name = _trusted_name(target)
    return (
        f"{key}._target_={target} is not among the classes that a file is trusted with ({where}): "
        f'if you know what it does, say --trust {name} (in Python: trust=["{name}"]).'
    )


def _short(classes: Sequence[str]) -> str:
    return ", ".join(name.removeprefix("captionlab.") for name in classes)
