"""How likely the tokens of one caption are, given those before them, for any pictures.

B pictures, T tokens of the caption, N memory slots, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.captioner import Captioner, Decoded
from captionlab.models.encoders.image_encoder import TrunkEncoder


class Steps(NamedTuple):
    """Log-probabilities (B,T) in nats, and where the model looked for each token (B,T,N) or None."""

    log_probs: Tensor
    weights: Tensor | None


class CaptionLikelihood:
    """The log-probability of each token of a caption behind what was given before it.

    A latent decoder is at its prior's mean, as in decoding.

    Args:
        model: a captioner, or what offers its encode, init_state and step.
        tokens: ids of the caption, T of them, without bos. given: ids that are read before it.
        bos_id: what stands before all of them.
        device: where the model is.
        look: what stands for the model's encoder where no gradients are asked for.
    """

    def __init__(
        self,
        model: Any,
        tokens: Sequence[int],
        *,
        given: Sequence[int] = (),
        bos_id: int,
        device: torch.device | str = "cpu",
        look: Callable[[Tensor], Memory] | None = None,
    ) -> None:
        self.model = model
        self._look = look
        self.tokens = list(tokens)
        self.device = device
        self._given = len(given)
        self._read = [bos_id, *given, *self.tokens[:-1]]

    def __call__(self, pictures: Tensor, count: int | None = None) -> Tensor:
        """Return the log-probabilities (B,T) of the first ``count`` tokens, None: of all.

        ``pictures`` (B,3,S,S) are uint8, or floats in [0, 1] through which gradients reach them.
        """
        return self.steps(pictures, count).log_probs

    def steps(self, pictures: Tensor, count: int | None = None) -> Steps:
        """Return the same, with where the model looked."""
        count = len(self.tokens) if count is None else count
        read = self._read[: self._given + count]
        memory = self._encode(pictures.to(self.device))
        if isinstance(self.model, Captioner):
            inputs = torch.tensor(read, device=self.device).expand(len(pictures), 1, -1)
            decoded: Decoded = self.model.decoder(memory, inputs)
            logits = self.model.logits(decoded.hidden[:, 0, self._given :])
            weights = None if decoded.weights is None else decoded.weights[:, 0, self._given :]
        else:
            logits, weights = self._stepped(memory, read, len(pictures))
        targets = torch.tensor(self.tokens[:count], device=self.device).expand(len(pictures), -1)
        log_probs = logits.float().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
        return Steps(log_probs, weights)

    def _encode(self, pictures: Tensor) -> Any:
        if self._look is None or torch.is_grad_enabled():
            return self.model.encode(pictures)
        return self.model.connect(self._look(pictures))

    def _stepped(self, memory: Any, read: list[int], pictures: int) -> tuple[Tensor, Tensor | None]:
        """Return logits (B,T,V) and attention (B,T,N) or None, of a model that only takes steps."""
        state = self.model.init_state(memory, 1)
        logits: list[Tensor] = []
        weights: list[Tensor] = []
        for place, token in enumerate(read):
            ids = torch.full((pictures, 1), token, dtype=torch.long, device=self.device)
            next_logits, state = self.model.step(ids, state)
            if place >= self._given:
                logits.append(next_logits[:, 0])
                weights += [] if state.weights is None else [state.weights[:, 0]]
        looked = torch.stack(weights, 1) if len(weights) == len(logits) else None
        return torch.stack(logits, 1), looked


@contextmanager
def gradients_of_pictures(model: nn.Module) -> Iterator[None]:
    """Let gradients reach pictures through encoders that are frozen, and keep none for that reason."""
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, TrunkEncoder):
                vars(module)["learning"] = nullcontext
                stack.callback(vars(module).pop, "learning")
        yield
