"""The watch on the training loss: a run ends before weights that learned from no number are kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captionlab.core.errors import UserError

LARGEST_LOSS = 1e6  # a loss of so many nats a token teaches nothing
CHECK_EVERY = 20  # steps; looking at a value makes the host wait for a GPU


class LossGuard:
    """Refuses a training loss that is no number, or too large to be learned from."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, Tensor, Sequence[int | str]]] = []
        self._refusal: str | None = None

    def update(self, step: int, loss: Tensor, image_ids: Sequence[int | str]) -> None:
        """Take the loss of a step; on a GPU it is looked at with those of the next steps.

        Raises:
            UserError: as ``check`` does.
        """
        self._pending.append((step, loss.detach(), image_ids))
        if loss.device.type == "cpu" or len(self._pending) >= CHECK_EVERY:
            self.check()

    def check(self) -> None:
        """Look at every loss that was not yet looked at.

        Raises:
            UserError: for a loss that is no number or too large, in this call or an earlier one.
        """
        if self._refusal is not None:
            raise UserError(self._refusal)
        pending, self._pending = self._pending, []
        values = torch.stack([loss for _, loss, _ in pending]).tolist() if pending else []
        for (step, _, image_ids), value in zip(pending, values, strict=True):
            if not abs(value) < LARGEST_LOSS:
                shown = ", ".join(map(str, image_ids[:8])) + (" ..." if len(image_ids) > 8 else "")
                self._refusal = (
                    f"The training loss became {value:g} at step {step}, on the images {shown}: lower "
                    "optimizer.lr, set trainer.gradient_clip_val, or use trainer.precision=32-true; "
                    "the checkpoints of before stay as they are"
                )
                raise UserError(self._refusal)
