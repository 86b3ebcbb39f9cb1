"""The text side of a whole captioner of Hugging Face, as a decoder.

Legend: B images, N memory slots, D memory width, V vocabulary, H the text side's width, R rows
(B K or B W), Q tokens of a row, h heads, d = H / h, P positions before the words.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.hugging_face import KNOWN, entries_of, transformers
from captionlab.core.memory import Memory
from captionlab.models.decoders.language_model.base import Trainable, Words, rows_of
from captionlab.models.decoders.language_model.beginning import Beginning, BeginningDecoder
from captionlab.models.decoders.language_model.library import KEY, NUM_SPECIAL, edge_id
from captionlab.models.decoders.language_model.lora import Lora
from captionlab.models.decoders.language_model.shared_cache import (
    cross_cache,
    keys_of,
    shared_cache,
)
from captionlab.models.hugging_face_captioners import (
    NAME,
    Family,
    bare_half,
    captioner_config,
    family_of,
    trial_of,
    whole_captioner,
    with_vocabulary,
)


class CaptionerText(BeginningDecoder):
    """What BLIP (Li et al. 2022), GIT (Wang et al. 2022) or a pair of encoder and decoder writes.

    It reads the slots of ``CaptionerVision`` as the library's own captioner does; a memory of
    another width goes through a linear layer first. What it keeps of an image, it keeps once for
    all captions. ``name``, ``weights``, ``architecture`` are as there; ``trainable``, ``lora`` and
    ``attention`` as ``LanguageModelDecoder`` explains. There are no attention weights. Raises
    UserError for values that do not fit, a captioner that cannot be had, and one that scores words
    in another way than body and head one after the other.
    """

    reads_pooled = False  # the slots alone
    family: Family
    _trial: tuple[Tensor, Tensor, Tensor]

    def __init__(
        self,
        name: str = NAME,
        *,
        weights: Literal["DEFAULT"] | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        trainable: Trainable = "all",
        lora: Lora | None = None,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
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
        self.slots = (
            nn.Identity() if memory_dim == self.read_dim else nn.Linear(memory_dim, self.read_dim)
        )
        self.train()

    def load_model(
        self,
        name: str,
        weights: str | None,
        architecture: dict[str, object] | None,
        vocabulary_size: int,
    ) -> Any:
        """Return the text side; ``architecture`` becomes the whole captioner's entries."""
        if weights is not None and architecture is not None:
            raise UserError(
                f"{KEY}.architecture is for random weights: say {KEY}.weights=null, or leave it out"
            )
        if weights is not None:
            whole, self.family = whole_captioner(KEY, name)
            config = whole.config
            self._name_edges(config, getattr(whole, "generation_config", None))
            self._trial = trial_of(KEY, whole, self.family, begin=self.edges[0])
            text = self.family.text_of(whole)
        else:
            known: Any = KNOWN.get(name) if architecture is None else architecture
            if known is not None:
                family = family_of(KEY, known)
                known = with_vocabulary(family, dict(known), vocabulary_size - NUM_SPECIAL)
            config, self.family = captioner_config(KEY, name, known)
            self._name_edges(config, None)
            text = bare_half(KEY, self.family.bare_text, config)
        self.architecture = entries_of(config)
        self.read_dim = self.family.memory_dim(config)
        return text

    def head_of(self, model: Any) -> nn.Module:
        """Return all of a text side behind its body: a linear layer, or several."""
        heads = [m for m in model.children() if m is not model.base_model]
        if len(heads) != 1:
            raise UserError(
                f"{KEY}: a {type(model).__name__} scores words in {len(heads)} parts, and one is "
                "known how to be read; choose another captioner"
            )
        return heads[0]

    def require_fit(self, model: Any, name: str) -> None:
        """Raise UserError for a captioner whose scores, in a trial, are not those of its halves."""
        slots, ids, theirs = self._trial
        del self._trial
        model.eval()
        memory = Memory(slots, slots.mean(1), slots.new_ones(slots.shape[:2], dtype=torch.bool))
        with torch.no_grad():
            begun = self._begin(slots, memory.mask)
            words, _ = self.read_words(ids[:, 1:] + NUM_SPECIAL, begun, memory, ())
            ours = self.output(torch.cat([begun.first[:, None], words], 1))
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3):
            raise UserError(
                f"{KEY}.name={name}: {type(model).__name__} scores words in another way than body "
                "and head one after the other, which this decoder does not follow; choose another "
                "captioner"
            )

    def _name_edges(self, config: Any, generation: Any) -> None:
        """Write into a configuration where its texts begin and end, and keep it."""
        text = self.family.text_config(config)
        kind = config.model_type
        if kind == "blip":
            begin, end = text.bos_token_id, text.sep_token_id
        elif kind == "git":
            begin, end = text.bos_token_id, text.eos_token_id
        else:
            starts = [
                getattr(c, "decoder_start_token_id", None) for c in (config, generation, text)
            ]
            begin = _first(*starts, text.bos_token_id, text.eos_token_id)
            ends = [getattr(c, "eos_token_id", None) for c in (config, generation, text)]
            end = _first(*ends, getattr(text, "sep_token_id", None))
            config.decoder_start_token_id, config.eos_token_id = begin, end
        self.edges = (edge_id(begin, None), edge_id(end, None))

    def edges_of(self, config: Any) -> tuple[int, int]:
        """Return the ids of a text's beginning and end."""
        return self.edges

    def read_beginning(self, memory: Memory) -> Beginning:
        """Return what the text side makes of each image and of bos.

        Raises UserError for a memory of another width or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder")
        memory.require_real_slots()
        return self._begin(self.slots(memory.slots), memory.mask)

    def _begin(self, slots: Tensor, mask: Tensor) -> Beginning:
        bos = mask.new_full((mask.shape[0], 1), self.bos, dtype=torch.long)
        own = self.new_cache()
        if not self.family.attends:
            hidden = self._behind_image(bos, slots, mask, own, 0)
            return Beginning(hidden[:, -1], keys_of(own))
        seen = self.new_cache()
        both = transformers(KEY).EncoderDecoderCache(own, seen)
        hidden = self._attending(bos, slots, mask, both)
        return Beginning(hidden[:, -1], keys_of(own), keys_of(seen))

    def read_words(self, tokens: Tensor, begun: Beginning, memory: Memory, words: Words) -> Any:
        """Return hidden (R, Q, H) of ids (R, Q) behind ``words``, and the cache's layers."""
        own = shared_cache(begun.prefix, rows_of(words))
        ids = self.own_ids(tokens)
        each = tokens.shape[0] // memory.pooled.shape[0]
        mask = memory.mask.repeat_interleave(each, 0)
        if not self.family.attends:
            before = 1 + (words[0][0].shape[-2] if words else 0)
            return self._behind_image(ids, None, mask, own, before), own.layers
        both = transformers(KEY).EncoderDecoderCache(own, cross_cache(begun.cross, each))
        both.is_updated = dict.fromkeys(range(len(begun.cross)), True)
        # the library asks that there are slots, and reads their keys from the cache
        unread = memory.slots.new_zeros(()).expand(*mask.shape, self.read_dim)
        return self._attending(ids, unread, mask, both), own.layers

    def _attending(self, ids: Tensor, slots: Tensor, mask: Tensor, cache: Any) -> Tensor:
        hidden: Tensor = self.body(
            input_ids=ids,
            encoder_hidden_states=slots,
            encoder_attention_mask=mask.long(),
            use_cache=True,
            **{self.cache_name: cache},
            **self.family.options,
        ).last_hidden_state
        return hidden

    def _behind_image(
        self, ids: Tensor, slots: Tensor | None, mask: Tensor, cache: Any, before: int
    ) -> Tensor:
        """Return hidden states of words (R, Q), and before them of slots (R, N, D) if there are any.

        Slots see each other, words see the slots and what stands before them (Wang et al. 2022,
        figure 3). ``mask`` (R, N) says which slots are real, ``before`` how many words are cached.
        """
        count = ids.shape[1]
        places = torch.arange(before, before + count, device=ids.device)
        x = self.body.embeddings(input_ids=ids, position_ids=places.unsqueeze(0))
        words = torch.arange(before + count, device=ids.device)
        causal = (words <= places[:, None]).expand(ids.shape[0], -1, -1)
        seen = torch.cat([mask[:, None].expand(-1, count, -1), causal], -1)
        if slots is not None:
            x = torch.cat([slots, x], 1)
            among = mask[:, None].expand(-1, mask.shape[1], -1)
            no_words = among.new_zeros(ids.shape[0], mask.shape[1], before + count)
            seen = torch.cat([torch.cat([among, no_words], -1), seen], 1)
        scores = torch.zeros_like(seen, dtype=x.dtype).masked_fill(~seen, torch.finfo(x.dtype).min)
        hidden: Tensor = self.body.encoder(
            x,
            attention_mask=scores.unsqueeze(1),
            use_cache=True,
            **{self.cache_name: cache},
        ).last_hidden_state
        return hidden


def _first(*ids: Any) -> Any:
    return next((value for value in ids if value is not None), None)
