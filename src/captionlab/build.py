"""The composition root: a checked configuration becomes a captioner and its data.

Sizes that follow from another part enter here by keyword, so that each value has one owner.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from captionlab.config.check import LABELS
from captionlab.config.instantiate import Factory, build_part, refusals
from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError
from captionlab.core.targets import locate
from captionlab.models.captioner import Captioner
from captionlab.models.decoders.factorized_embedding import FactorizedEmbedding
from captionlab.models.encoders.layers import LAST
from captionlab.models.unread import freeze_unread
from captionlab.text.tokenizers import Tokenizer
from captionlab.text.word_vectors import fill

if TYPE_CHECKING:  # it imports Lightning, which a captioner does without
    from captionlab.data import CaptionDataModule

log = logging.getLogger("captionlab")


@dataclass(frozen=True)
class Sizes:
    """What a model must know of the text it writes.

    ``words`` are the texts of all token ids, the frequent first, empty for special tokens: tags and
    word vectors need them. ``control_ids`` stand in prompts alone, ``similar_id`` before captions of
    similar images.
    """

    vocabulary_size: int
    pad_id: int
    words: tuple[str, ...] = ()
    control_ids: tuple[int, ...] = ()
    similar_id: int | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Sizes:
        """Return the sizes of a tokenizer."""
        number = len(tokenizer)
        words = tuple(tokenizer.decode([i]) for i in range(number))
        ids = tokenizer.control_ids, tokenizer.similar_id
        return cls(number, tokenizer.pad_id, words, *ids)


def build_captioner(model: Config, sizes: Sizes) -> Captioner:
    """Return the captioner of a model's configuration.

    Raises:
        UserError: if a part refuses a value, or parts do not fit together.
    """
    captioner = _build_captioner(model, sizes)
    captioner.control_ids = sizes.control_ids
    return captioner


def _build_captioner(model: Config, sizes: Sizes) -> Captioner:
    encoder = build_part(model["encoder"], "model.encoder")
    connector = _build_connector(model, encoder)
    memory_dim, pooled_dim = _widths(encoder if connector is None else connector)
    decoder = _build_decoder(model, sizes, memory_dim, pooled_dim)
    tags = _build_tags(model, sizes, memory_dim, pooled_dim)
    retrieval = _build_retrieval(model, sizes, encoder)
    if not getattr(decoder, "learns", True):
        _leave_untrained(model, encoder)
    if "_target_" in model:  # a class of the user's own
        captioner = Factory[Captioner](_own_options(model, "model"), "model")
        parts = {"connector": connector, "tags": tags, "retrieval": retrieval}
        optional = {name: part for name, part in parts.items() if part is not None}
        return captioner(encoder=encoder, decoder=decoder, **optional)
    # a builder function knows it of all that it builds; some classes by what they are built with
    readers = (locate(model["decoder"]["_target_"]), decoder)
    reads_pooled = all(getattr(reader, "reads_pooled", True) for reader in readers)
    freeze_unread(
        encoder,
        connector,
        chooses_layers=_chooses_layers(model, encoder),
        reads_slots=getattr(decoder, "reads_slots", True),
        reads_pooled=reads_pooled or tags is not None,
    )
    return Captioner(encoder, decoder, tags, connector, retrieval)


def _leave_untrained(model: Config, encoder: nn.Module) -> None:
    """Freeze the encoder of a decoder that learns nothing; refuse parts that would stay random."""
    for part in ("connector", "tags", "retrieval"):
        if model.get(part):
            raise UserError(
                f"model/{part} begins with random weights, and model/decoder=nearest trains none: "
                f"say model/{part}=none"
            )
    encoder.requires_grad_(False)


def _chooses_layers(model: Config, encoder: nn.Module) -> bool:
    indices = getattr(encoder, "layer_indices", LAST)
    chosen = indices != LAST or model["encoder"].get("pooled") is not None
    return chosen or getattr(encoder, "leaves_unread", False)


def _widths(part: Any) -> tuple[int, int]:
    """Return the widths of slots and of the pooled vector that an encoder or a connector gives.

    A part of the user's own may have no other width than its slots'.
    """
    return part.dim, getattr(part, "pooled_dim", part.dim)


def _build_connector(model: Config, encoder: nn.Module) -> nn.Module | None:
    if not model.get("connector"):
        return None
    connector = Factory[nn.Module](model["connector"], "model.connector")
    memory_dim, pooled_dim = _widths(encoder)
    widths = _pooled_width(connector.target, "model.connector", memory_dim, pooled_dim)
    return connector(memory_dim=memory_dim, **widths)


def _build_retrieval(model: Config, sizes: Sizes, encoder: nn.Module) -> nn.Module | None:
    """Return what gives captions of similar images; their images are compared as the encoder sees them."""
    if not model.get("retrieval"):
        return None
    retrieval = Factory[nn.Module](model["retrieval"], "model.retrieval")
    return retrieval(
        pooled_dim=_widths(encoder)[1],
        vocabulary_size=sizes.vocabulary_size,
        separator_id=0 if sizes.similar_id is None else sizes.similar_id,
    )


def _build_decoder(model: Config, sizes: Sizes, memory_dim: int, pooled_dim: int) -> nn.Module:
    """Return the decoder, with an attention as wide as it, and word vectors where they are named."""
    node = model["decoder"]
    decoder = Factory[nn.Module](_own_options(node, "model.decoder"), "model.decoder")
    # a pretrained language model brings its width, and no attention asks for it
    hidden = node.get("hidden", 1)
    if hidden < 1:
        raise UserError(f"model.decoder.hidden={hidden} must be at least 1.")
    attention = Factory[nn.Module](model["attention"], "model.attention")
    # an AoA decoder refines the memory before anything attends to it
    refines_memory = getattr(decoder.target, "refines_memory", False)
    built = decoder(
        vocabulary_size=sizes.vocabulary_size,
        pad_id=sizes.pad_id,
        memory_dim=memory_dim,
        attention=attention(query_dim=hidden, memory_dim=hidden if refines_memory else memory_dim),
        **_pooled_width(decoder.target, "model.decoder", memory_dim, pooled_dim),
    )
    with refusals("model.decoder"):
        _prepare_words(built, node, sizes)
    return built


def _prepare_words(decoder: nn.Module, node: Config, sizes: Sizes) -> None:
    """Let a decoder's words be of two factors, and begin with word vectors, where that is asked for."""
    embeddings, word_dim = node.get("embeddings"), node.get("word_dim")
    if embeddings is None and word_dim is None:
        return
    # a language model has them inside, of its own width
    words = dict(decoder.named_children()).get("words")
    if not isinstance(words, nn.Embedding):
        given = f"embeddings={embeddings!r:.60}" if word_dim is None else f"word_dim={word_dim!r}"
        raise UserError(
            f"{given} is for a decoder that embeds words by itself, and {type(decoder).__name__} "
            "brings its own: leave it out, or choose another model/decoder, such as transformer"
        )
    if word_dim is None:
        _fill(words.weight, embeddings, sizes)
        return
    if type(word_dim) is not int:
        raise UserError(
            f"word_dim={word_dim!r} must be a whole number, the width of word vectors, or null"
        )
    if node.get("tie_weights"):
        raise UserError(
            "tie_weights=true scores words by embeddings as wide as the decoder, and "
            f"word_dim={word_dim} makes them of two factors: leave one of them out"
        )
    factorized = FactorizedEmbedding(
        words.num_embeddings,
        word_dim=word_dim,
        embedding_dim=words.embedding_dim,
        pad_id=words.padding_idx,
    )
    if embeddings is not None:
        _fill(factorized.table.weight, embeddings, sizes)
    factorized.begin_like(words)
    decoder.words = factorized


def _fill(table: Tensor, embeddings: object, sizes: Sizes) -> None:
    log.info("embeddings %s", fill(table, str(embeddings), sizes.words))


def _build_tags(model: Config, sizes: Sizes, memory_dim: int, pooled_dim: int) -> nn.Module | None:
    if not model.get("tags"):
        return None
    tags = Factory[nn.Module](model["tags"], "model.tags")
    width = _pooled_width(tags.target, "model.tags", memory_dim, pooled_dim)
    return tags(words=sizes.words, memory_dim=memory_dim, **width)


def _pooled_width(
    target: Callable[..., object], key: str, memory_dim: int, pooled_dim: int
) -> dict[str, int]:
    """Return the width of the pooled vector by keyword, for a part that takes it.

    Raises UserError for one that does not, and would read a vector of another width than the slots'.
    """
    if "pooled_dim" in inspect.signature(target).parameters:
        return {"pooled_dim": pooled_dim}
    if pooled_dim != memory_dim and getattr(target, "reads_pooled", True):
        name = getattr(target, "__name__", str(target))
        remedy = "say model/connector=linear, which brings both to one width"
        if key == "model.connector":
            remedy = "choose an encoder whose widths are the same, or model/connector=linear"
        raise UserError(
            f"{key}: {name} takes no pooled_dim, so it expects a pooled vector as wide as the slots "
            f"({memory_dim}), and it is {pooled_dim} wide: {remedy}"
        )
    return {}


def keep_architectures(model: MutableConfig, captioner: Captioner) -> None:
    """Write what a part from elsewhere is made of into the model's configuration.

    A checkpoint must rebuild it without the folder or the network it came from.
    """
    for part in ("encoder", "decoder"):
        architecture = getattr(getattr(captioner, part), "architecture", None)
        if architecture is not None:
            model[part] = {**model[part], "architecture": architecture}
    for part in ("decoder", "retrieval"):
        index = getattr(getattr(captioner, part), "index", None)
        if index is not None:
            model[part] = {**model[part], "index": list(index.sizes)}


def build_data(data: Config, **runtime: object) -> CaptionDataModule:
    """Return the data module of a data configuration; ``runtime`` values go before its own.

    Raises:
        UserError: if it, its source or another part of it refuses a value.
    """
    module: CaptionDataModule = build_part(_own_options(data, "data"), "data", **runtime)
    return module


def _own_options(node: Config, key: str) -> dict[str, object]:
    """Return a node without the keys that are there for others to refer to."""
    return {name: value for name, value in node.items() if name not in LABELS[key]}
