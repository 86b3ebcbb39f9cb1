"""The composition root: a checked configuration becomes a captioner and its data.

Sizes that follow from another part enter here by keyword, so that each value has one owner.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from captionlab.config.check import LABELS
from captionlab.config.instantiate import build_part, refusals
from captionlab.core.errors import UserError
from captionlab.core.targets import locate
from captionlab.models.captioner import Captioner
from captionlab.text.word_vectors import fill

log = logging.getLogger("captionlab")


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


def build_captioner(model: Mapping[str, Any], sizes: Sizes) -> Captioner:
    """Return the captioner of a model's configuration.

    Sizes that follow from another part enter here: the attention is told the decoder's width and
    the memory's, the decoder is told the memory's width and the vocabulary.
    """
    encoder = build_part(model["encoder"], "model.encoder")
    node = dict(model["decoder"])
    embeddings = node.pop("embeddings", None)
    decoder_builder = build_part(node, "model.decoder")
    # a pretrained language model brings its width, and no attention asks for it
    hidden = option(node, "hidden", 1)
    if hidden < 1:
        raise UserError(f"model.decoder.hidden={hidden} must be at least 1.")
    attention_builder = build_part(model["attention"], "model.attention")
    # an AoA decoder refines the memory before anything attends to it
    refines = getattr(locate(node["_target_"]), "refines_memory", False)
    with refusals("model.attention"):
        attention = attention_builder(
            query_dim=hidden, memory_dim=hidden if refines else encoder.dim
        )
    with refusals("model.decoder"):
        decoder = decoder_builder(
            vocabulary_size=sizes.vocabulary_size,
            pad_id=sizes.pad_id,
            memory_dim=encoder.dim,
            attention=attention,
        )
    if embeddings is not None:
        with refusals("model.decoder"):
            log.info("embeddings %s", fill(decoder.words.weight, str(embeddings), sizes.words))
    parts = {"encoder": encoder, "decoder": decoder}
    if model.get("tags"):
        tags = build_part(model["tags"], "model.tags")
        with refusals("model.tags"):
            parts["tags"] = tags(words=sizes.words, memory_dim=encoder.dim)
    # a user may name another class
    captioner = locate(model["_target_"]) if "_target_" in model else Captioner
    return captioner(**parts)


def option(node: Mapping[str, Any], name: str, otherwise: int) -> int:
    """Return a node's option, its class's default, or ``otherwise`` where it has no such option."""
    parameter = inspect.signature(locate(node["_target_"])).parameters.get(name)
    if parameter is None or (name not in node and parameter.default is parameter.empty):
        return otherwise
    return int(node.get(name, parameter.default))


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
    return build_part({k: v for k, v in data.items() if k not in LABELS["data"]}, "data", **runtime)
