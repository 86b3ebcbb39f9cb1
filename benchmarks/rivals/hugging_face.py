"""GPT-2 of transformers with its own cross-attention, decoded by its own ``generate``.

Sizes of the library; random weights. Features go through one linear layer to GPT-2's width once an
image. What reads the image learns, and the language model stays as it is, as captionlab's default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gpt2(nn.Module):
    def __init__(self, memory_dim: int, vocabulary: int) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(vocab_size=vocabulary, add_cross_attention=True)
        self.model = GPT2LMHeadModel(config)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("cross" in name)
        self.cells = nn.Linear(memory_dim, config.n_embd)

    def forward(self, slots: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return cross-entropy of captions (B,K,T) of features (B,N,D)."""
        cells = self.cells(slots).repeat_interleave(tokens.shape[1], dim=0)
        flat, ends = tokens.flatten(0, 1), lengths.flatten()
        real = torch.arange(flat.shape[1], device=flat.device) < ends.unsqueeze(1)
        answer = self.model(
            input_ids=flat,
            attention_mask=real.long(),
            encoder_hidden_states=cells,
            labels=flat.masked_fill(~real, -100),
            use_cache=False,
        )
        loss: Tensor = answer.loss
        return loss

    @torch.no_grad()
    def decode(self, slots: Tensor, beams: int, *, steps: int, bos: int) -> Tensor:
        """Return captions (B, 1 + steps), bos first."""
        return self.model.generate(
            torch.full((len(slots), 1), bos, device=slots.device),
            encoder_hidden_states=self.cells(slots),
            max_new_tokens=steps,
            min_new_tokens=steps,
            num_beams=beams,
            do_sample=False,
            pad_token_id=0,
        )
