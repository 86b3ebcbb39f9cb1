"""What every training objective shares: its base class, and means over all processes.

B images, K captions an image, T tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from captionlab.core.distributed import world_size
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import teacher_forced
from captionlab.objectives.cross_entropy_loss import cross_entropy

if TYPE_CHECKING:
    from captionlab.objectives.policy_gradient.rewards import TrainingText


class Batch(Protocol):
    """What an objective reads of a batch (``captionlab.data.CaptionBatch`` fits)."""

    images: Tensor | Memory  # (B,3,h,w) uint8, or what a feature store holds of them
    tokens: Tensor  # (B,K,T) int64: bos, words, eos, padding
    lengths: Tensor  # (B,K) int64: real tokens with bos and eos, 0 for an absent caption
    prompts: Tensor | None  # (B,K,P) int64: tokens given before each caption, then padding
    scored_ids: (
        list[list[int | str]] | None
    )  # beside prompts: under which references each is scored
    image_ids: list[int | str]
    references: list[list[str]]


class StageStart(NamedTuple):
    """What an objective asks of its trainer before an epoch in which it begins anew.

    The optimizer forgets its averages. ``from_best_weights``: the captioner goes back to the best
    checkpoint, where there is one. ``learning_rate``: of the first parameter group, the others in
    proportion; None leaves the rates as they are.
    """

    from_best_weights: bool
    learning_rate: float | None


class Objective(nn.Module, ABC):
    """The base of all objectives: pairs a captioner with a loss.

    A subclass needs ``name``, which prefixes its diagnostics on the dashboard
    (``train/<name>/...``), and ``forward``. What a resumed run must know (a moving average) belongs
    into buffers or into the extra state of ``nn.Module``. The hooks do nothing; they are called, and
    named, as Lightning calls those of a module.
    """

    requires_pretrained: bool = False  # random weights cannot be trained with it
    reads_prompts: bool = (
        True  # whether it learns from captions with questions or styles before them
    )
    needs_training_text: bool = False  # `on_fit_start` reads the training captions: it takes time
    reads_images: bool = False  # another captioner of its own looks at them
    teacher_paths: Sequence[str] = ()  # checkpoints of the captioners that it learns from

    @property
    @abstractmethod
    def name(self) -> str:
        """What its diagnostics are logged under."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that its diagnostics are logged under in the course of a run."""
        return (self.name,)

    @property
    def pauses_schedule(self) -> bool:
        """Whether the learning rate is the objective's own now, so that its schedule stands still."""
        return False

    @abstractmethod
    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss (a scalar) and named diagnostics (detached scalars)."""

    def require_epochs(self, max_epochs: int) -> None:
        """Raise UserError where a run of so many epochs ends before the objective is through."""

    def set_teachers(self, captioners: Sequence[Captioner]) -> None:
        """Learn from the captioners of ``teacher_paths``, in their order; called before a run."""

    def on_fit_start(
        self, training_text: TrainingText | None, start_scores: Mapping[str, float]
    ) -> None:
        """Prepare for a run, before any file is written.

        Args:
            training_text: the training captions, None unless ``needs_training_text``.
            start_scores: validation scores of the model that the run starts from, if any.
        """

    def on_stage_start(self, start_scores: Mapping[str, float]) -> None:
        """Begin after another objective, from a model with these validation scores, if any."""

    def run_artifacts(self) -> dict[str, np.ndarray]:
        """Return arrays that belong into the run folder, once ``on_fit_start`` was called."""
        return {}

    def on_train_epoch_start(
        self, epoch: int, val_scores: Mapping[str, float]
    ) -> StageStart | None:
        """Return what must happen before this epoch, None for nothing.

        Args:
            val_scores: of the last validation, if there was any.
        """
        return None

    def on_train_batch_start(self, epoch: float) -> None:
        """Set the time: epochs done so far, with the part of the present one."""

    def on_before_optimizer_step(self) -> None:
        """Step the weights of the objective's own, along what was gathered since the last step."""


def require_objective(value: object) -> Objective:
    """Return the value if it is an objective.

    Raises:
        UserError: if it does not derive from ``Objective``.
    """
    if isinstance(value, Objective):
        return value
    raise UserError(
        f"objective: {type(value).__qualname__} is no captionlab.objectives.Objective; derive it "
        "from that class, with the loss in forward(captioner, batch)"
    )


def with_tags(
    objective: Objective, captioner: Captioner, batch: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the objective's loss and diagnostics, with those of the captioner's tags where it has any.

    The encoder looks at the images once for both: the objective is handed what it sees, as from a
    feature store, before any connector; but for one that ``reads_images``. ``batch`` is a dataclass
    with the fields of ``Batch``.
    """
    if captioner.tags is None:
        return objective(captioner, batch)
    images = batch.images
    seen = images if isinstance(images, Memory) else captioner.encoder(images)
    own = batch if objective.reads_images else replace(batch, images=seen)
    loss, diagnostics = objective(captioner, own)
    tags = captioner.tags.loss(captioner.encode(seen), batch.tokens)
    return loss + captioner.tags.weight * tags, {**diagnostics, "tags": tags.detach()}


def rank_weight(count: int | Tensor, like: Tensor) -> Tensor | float:
    """Return by what to multiply a mean over ``count`` things of this process, its tokens say.

    Processes have different numbers of tokens, and DDP takes the plain mean of their gradients; with
    this weight that mean is the one over all things of all processes, as if one process had had the
    whole batch. ``like``: a tensor on the right device. Every process must call it.
    """
    if world_size() == 1:
        return 1.0
    own = torch.as_tensor(count, device=like.device, dtype=torch.float32).detach().clone()
    whole = own.clone()
    dist.all_reduce(whole)
    return own * world_size() / whole.clamp_min(1.0)


def averaged(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all ranks."""
    if world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
        value /= world_size()
    return value


def joined(mean: Tensor, count: int | Tensor) -> Tensor:
    """Return the mean over the things of all processes, of a mean over this process's ``count``.

    For what is not linear in it, the square of a mean say. Its gradient flows to this process's part
    as if DDP's mean over processes were a sum over their parts, which it then is.
    """
    own = mean * rank_weight(count, mean)
    return own + (averaged(own.detach()) - own.detach())


def mean_nll(captioner: Captioner, memory: Memory, batch: Batch) -> Tensor:
    """Return the mean negative log-likelihood of the batch's real tokens, in nats a token.

    It is weighted: its mean over processes is that of all their tokens.
    """
    answers = teacher_forced(captioner, memory, batch)
    nll, _ = cross_entropy(answers.logits, answers.targets)
    return nll * rank_weight(len(answers.targets), nll)
