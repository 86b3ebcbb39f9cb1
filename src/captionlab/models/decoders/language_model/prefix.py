"""ClipCap: an image becomes the beginning of a text that a causal language model goes on with.

Legend: B images, N memory slots, D memory width, L prefix length, H the language model's width.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.models.decoders.language_model.base import Trainable
from captionlab.models.decoders.language_model.beginning import Beginning, BeginningDecoder
from captionlab.models.decoders.language_model.library import KEY
from captionlab.models.decoders.language_model.lora import Lora
from captionlab.models.decoders.language_model.mapping import MlpMapping, TransformerMapping
from captionlab.models.decoders.language_model.shared_cache import keys_of

Mapping = Literal["mlp", "transformer"]


class PrefixDecoder(BeginningDecoder):
    """A causal language model that goes on from ``prefix_length`` embeddings made of the image.

    Mokady et al. 2021 (ClipCap). ``mapping`` mlp makes the prefix of the pooled image; transformer
    of the slots, in ``mapping_layers`` layers of ``mapping_heads`` heads. As in the paper the prefix
    stands where the beginning of the text stood: its last place predicts the first word, and the
    first input, bos, is not read. The captions and beams of an image share its prefix. The mapping
    always learns; ``name``, ``weights``, ``architecture``, ``trainable``, ``lora`` and ``attention`` are as
    ``LanguageModelDecoder`` explains. There are no attention weights. Raises UserError for values
    that do not fit and a model that cannot be had.
    """

    reads_pooled: bool  # by the mapping: the pooled image
    reads_slots: bool  # or the slots

    def __init__(
        self,
        name: str = "gpt2",
        *,
        weights: Literal["DEFAULT"] | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        trainable: Trainable = "none",
        lora: Lora | None = None,
        prefix_length: int = 10,
        mapping: Mapping = "transformer",
        mapping_layers: int = 8,
        mapping_heads: int = 8,
        dropout: float = 0.0,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        pooled_dim: int | None = None,
        attention: nn.Module,
    ) -> None:
        super().__init__(
            name,
            weights=weights,
            architecture=architecture,
            trainable=trainable,
            lora=lora,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            attention=attention,
        )
        if mapping not in get_args(Mapping):
            hint = did_you_mean(str(mapping), get_args(Mapping))
            raise UserError(f"{KEY}.mapping={mapping!r}: {hint}")
        self.reads_pooled = mapping == "mlp"
        self.reads_slots = not self.reads_pooled
        if not 1 <= prefix_length <= self.longest - 1:
            raise UserError(
                f"{KEY}.prefix_length={prefix_length} must be 1 to {self.longest - 1}, for a language "
                f"model of {self.longest} positions"
            )
        # the prefix stands in place of the first input
        self.taken = prefix_length - 1
        self.pooled_dim = memory_dim if pooled_dim is None else pooled_dim
        # of what the language model reads, which it may project to its own width
        width = self.words.embedding_dim
        self.mapping: nn.Module
        if mapping == "mlp":
            self.mapping = MlpMapping(prefix_length, width, pooled_dim=self.pooled_dim)
        else:
            _check_layers(mapping_layers, mapping_heads, width)
            self.mapping = TransformerMapping(
                prefix_length,
                width,
                layers=mapping_layers,
                heads=mapping_heads,
                dropout=dropout,
                memory_dim=memory_dim,
            )
        self.train()

    def read_beginning(self, memory: Memory) -> Beginning:
        """Return the prefix of each image as the language model has read it.

        Raises UserError for a memory of another width, or without a real slot where slots are read.
        """
        pooled = self.pooled_dim if self.reads_pooled else None
        memory.require_width(self.memory_dim, "decoder", pooled)
        if self.reads_slots:
            memory.require_real_slots()
        cache = self.new_cache()
        hidden = self.read(self.mapping(memory), cache)
        return Beginning(hidden[:, -1], keys_of(cache))


def _check_layers(layers: int, heads: int, width: int) -> None:
    if layers < 1:
        raise UserError(f"{KEY}.mapping_layers={layers} must be at least 1")
    if heads < 1 or width % heads:
        raise UserError(
            f"{KEY}.mapping_heads={heads} does not divide {width}, the width of the language "
            f"model's embeddings"
        )
