"""What decoders around a pretrained causal language model share: its ids, scores, cache and limits.

Legend: B images, W beams, H the language model's width, V vocabulary, R rows (B K or B W), Q tokens
of a row, h heads, d = H / h, t tokens so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.hugging_face import entries_of, transformers
from captionlab.models.attention.base import NoAttention
from captionlab.models.attention.multi_head import KeysValues
from captionlab.models.decoders.language_model.library import (
    KEY,
    NUM_SPECIAL,
    cache_name,
    causal_model,
    choose_trainable,
    edge_id,
    fuse_activations,
    layers_of,
    require_caching,
    require_plain_head,
    require_words,
)
from captionlab.models.decoders.language_model.lora import Lora, adapters, add_lora, merge

Trainable = int | Literal["none", "all"]
Words = tuple[KeysValues, ...]  # of each layer, keys and values of the words so far


class CausalDecoder(nn.Module):
    """The base of decoders whose words are a causal language model's.

    A subclass says how the memory enters. Ids are the language model's own moved up by 4: pad, bos,
    eos and unk stand before them; bos reads as the text's beginning, and the text's end is scored as
    eos. ``name``, ``weights``, ``architecture``, ``trainable`` and ``lora`` are as
    ``LanguageModelDecoder`` explains. Raises UserError for values that do not fit and a model that
    cannot be had.
    """

    attention_penalty = 0.0

    def __init__(
        self,
        name: str,
        *,
        weights: Literal["DEFAULT"] | None,
        architecture: dict[str, object] | None,
        trainable: Trainable,
        lora: Lora | None,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: nn.Module,
    ) -> None:
        super().__init__()
        if not isinstance(attention, NoAttention):
            raise UserError(
                "a language model has attention of its own and cannot take "
                f"{type(attention).__name__}: say model/attention=none"
            )
        self.pad_id = pad_id
        self.memory_dim = memory_dim
        self.vocabulary_size = vocabulary_size
        self.architecture: dict[str, object]
        model = self.load_model(name, weights, architecture, vocabulary_size)
        require_caching(model, name)
        config = model.config
        self.new_cache = transformers(KEY).DynamicCache
        self.bos, self.eos = self.edges_of(config)
        self.longest = int(getattr(config, "max_position_embeddings", 0) or 2**31)
        self.width = int(config.hidden_size)
        self.body = model.base_model
        fuse_activations(self.body)
        self.cache_name = cache_name(self.body)
        self.output = self.head_of(model)
        self.output_dim = getattr(self.output, "in_features", self.width)
        rows = model.get_input_embeddings().num_embeddings
        require_words(name, weights, vocabulary_size, rows)
        if weights is not None:
            self.require_fit(model, name)
        self.num_layers = int(config.num_hidden_layers)
        self.has_lora = lora is not None and lora.get("rank") is not None
        if lora is not None and self.has_lora:
            add_lora(self.body, self.output, lora, self.width)
        choose_trainable(model, self.layers, trainable)
        for added in self.added_to_body():
            added.requires_grad_(True)
        self.trainable = trainable

    def load_model(
        self,
        name: str,
        weights: str | None,
        architecture: dict[str, object] | None,
        vocabulary_size: int,
    ) -> Any:
        """Return the language model, and keep the entries that make it again as ``architecture``."""
        model = causal_model(name, weights, architecture, vocabulary_size)
        self.architecture = entries_of(model.config)
        return model

    def edges_of(self, config: Any) -> tuple[int, int]:
        """Return the language model's ids of a text's beginning and end."""
        begin, end = config.bos_token_id, config.eos_token_id
        return edge_id(begin, end), edge_id(end, begin)

    def head_of(self, model: Any) -> nn.Module:
        """Return what scores words by hidden states (..., H)."""
        head: nn.Module = model.get_output_embeddings()
        return head

    def require_fit(self, model: Any, name: str) -> None:
        """Raise UserError for pretrained weights that this decoder would read in another way."""
        require_plain_head(model, name)

    @property
    def words(self) -> Any:
        """The language model's own embeddings, whose row i belongs to token i + 4."""
        return self.body.get_input_embeddings()

    @property
    def layers(self) -> nn.ModuleList:
        """The language model's layers."""
        return layers_of(self.body, self.num_layers)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a language model that does not learn drops nothing out."""
        super().train(mode)
        if self.trainable in ("none", 0):
            self.body.eval()
            for added in self.added_to_body():
                added.train(mode)
        return self

    def added_to_body(self) -> Iterator[nn.Module]:
        """Yield what learns inside of the language model, though that may not."""
        return adapters(self.body) if self.has_lora else iter(())

    def merge_lora(self) -> None:
        """Add the adapters to the weights beside them: what it scores, and is, with lora.rank=null.

        Without adapters it stays as it is.
        """
        if self.has_lora:
            merge(self.body)
        self.has_lora = False

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the language model's embeddings (..., H) of ids (...)."""
        return self.words(self.own_ids(tokens))

    def own_ids(self, tokens: Tensor) -> Tensor:
        """Return the language model's ids of ids; every caption begins where its texts begin."""
        own = (tokens - NUM_SPECIAL).clamp_min(0)
        return torch.where(tokens < NUM_SPECIAL, self.bos, own)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the unnormalized log-probabilities of the next word, (..., V) from (..., H).

        The language model's own end is scored as eos; pad, bos, unk and its own id get the least
        score of all, as nothing is ever to be said with them.
        """
        own = self.output(hidden)
        scores = own[..., : self.vocabulary_size - NUM_SPECIAL]
        least = scores.detach().amin(-1)
        ends = torch.stack([least, least, own[..., self.eos], least], -1)
        every = torch.cat([ends, scores], -1)
        for edge in {self.bos, self.eos}:
            if edge < self.vocabulary_size - NUM_SPECIAL:
                every[..., NUM_SPECIAL + edge] = least
        return every

    def read(self, embedded: Tensor, cache: Any) -> Tensor:
        """Return hidden (R, Q, H) of embeddings (R, Q, H); what is in the cache stands before them."""
        output = self.body(inputs_embeds=embedded, use_cache=True, **{self.cache_name: cache})
        hidden: Tensor = output.last_hidden_state
        return hidden

    def require_length(self, length: int, before: int = 0) -> None:
        """Raise UserError for more tokens than the positions that ``before`` others leave free."""
        if length + before > self.longest:
            behind = f" behind {before} of the image" if before else ""
            raise UserError(
                f"a caption of {length} tokens, its prompt counted,{behind} is longer than the language "
                f"model's {self.longest} positions: lower data.max_length or decoding.max_length"
            )


def rows_of(words: Words) -> Iterator[KeysValues]:
    """Yield each layer's keys and values (R, h, t, d) of those of beams (B, W, h, t, d)."""
    for keys, values in words:
        yield keys.flatten(0, 1), values.flatten(0, 1)


def beams_of(layers: Any, images: int) -> Words:
    """Return the keys and values (B, W, h, t, d) of a cache's layers (R, h, t, d)."""
    return tuple(
        (layer.keys.unflatten(0, (images, -1)), layer.values.unflatten(0, (images, -1)))
        for layer in layers
    )
