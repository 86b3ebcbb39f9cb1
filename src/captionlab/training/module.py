"""The LightningModule: one objective in training, real captions in validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from captionlab.core.distributed import all_gather_object, broadcast_tensors
from captionlab.core.errors import UserError
from captionlab.data.dataset import CaptionBatch
from captionlab.decoding.captions import Decoding, all_captions, captions_each, generate
from captionlab.decoding.ensemble import Ensemble
from captionlab.decoding.generated import Generated
from captionlab.decoding.sampling import Sampling, noise_of
from captionlab.inference.checkpoints import KEY, OPTIMIZERS, WEIGHTS_PREFIX, read_checkpoint
from captionlab.inference.weights import load_weights
from captionlab.metrics.bootstrap import Statistic
from captionlab.metrics.caption_metrics import CaptionMetrics
from captionlab.metrics.split_scorer import Scores
from captionlab.models.captioner import Captioner
from captionlab.models.tags import mean_average_precision
from captionlab.objectives.base import (
    Objective,
    StageStart,
    caption_nll,
    require_objective,
    with_tags,
)
from captionlab.text.tokenizers import Tokenizer
from captionlab.training.earlier_checkpoints import update_checkpoint
from captionlab.training.schedules import Schedule

LOOK_EVERY = 20  # steps
EXPLODED = 1e6  # a loss of so many nats a token teaches nothing
Looks = tuple[list[str], Tensor]  # the words of a caption, and attention (T,N) for each
RANDOM = "random_state"  # where a checkpoint holds the generators' state


class CaptioningModule(pl.LightningModule):
    """Trains a captioner with an objective; validates and tests by generating and scoring.

    Args:
        captioner, objective, decoding, tokenizer, metrics: built parts.
        optimizer: called with parameter groups. schedule: completed with the optimizer, or None.
        portable: what makes a checkpoint self-contained beside the weights: plain dicts only.
        others: captioners that write together with it when it is scored (an ensemble).
        samples: captions drawn an image to tell how diverse they are, where decoding gives one; 0
            for none.
    """

    def __init__(
        self,
        *,
        captioner: Captioner,
        objective: Objective,
        decoding: Decoding,
        tokenizer: Tokenizer,
        metrics: CaptionMetrics,
        optimizer: Callable[[Iterable[Any]], Optimizer],
        schedule: Schedule | None = None,
        portable: dict[str, Any] | None = None,
        others: Sequence[Captioner] = (),
        samples: int = 0,
    ):
        super().__init__()
        self.captioner = captioner
        self.others = torch.nn.ModuleList(others)
        self.samples = samples
        self.objective = require_objective(objective)
        self.decoding = decoding
        self.tokenizer = tokenizer
        self.metrics = metrics
        self.evaluation_split = "test"
        self.checkpoint: tuple[Path, int] | None = None  # whose weights these are, and its epochs
        self.scores: dict[str, Scores] = {}
        self.start_scores: dict[str, float] = {}  # of the model that the run began from, if any
        self.results: dict[str, dict[str, float]] = {}  # what was logged last, in full precision
        self.monitored: frozenset[str] = frozenset()  # names that callbacks wait for
        self.watched: frozenset[int | str] = frozenset()  # images whose attention is kept
        self.looks: dict[int | str, Looks] = {}  # of the split that was scored last
        self._recent: list[tuple[int, Tensor, Sequence[int | str]]] = []  # not yet looked at
        self._spoiled: str | None = None  # what is told of a loss that is no number
        self._began = 0.0  # when the epoch did, by a monotonic clock
        self.new_optimizer = optimizer
        self._schedule = schedule
        self._portable = portable or {}
        self.data_origin: str | None = self._portable.get("data", {}).get("origin")
        self._nll: dict[int | str, tuple[float, int]] = {}
        self._tags: dict[
            int | str, tuple[Tensor, Tensor]
        ] = {}  # scores (G,), targets (G,) an image
        self._looks: dict[int | str, Looks] = {}

    def setup(self, stage: str) -> None:
        """Let each rank draw dropout and captions of its own: Lightning seeds all of them alike."""
        if stage == "fit" and self.global_rank:
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def training_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        """Return the objective's loss and log its diagnostics."""
        done = batch_idx / self.trainer.num_training_batches
        self.objective.on_train_batch_start(self.current_epoch + done)
        loss, diagnostics = with_tags(self.objective, self.captioner, batch)
        self._recent.append((self.global_step, loss.detach(), batch.image_ids))
        # looking at the value waits for a GPU, so not at every step
        if self.device.type == "cpu" or len(self._recent) >= LOOK_EVERY:
            self._check_losses()
        log = {"train/loss": loss.detach()}
        for name, value in diagnostics.items():
            log[f"train/{self.objective.name}/{name}"] = value
        self.log_dict(log, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return loss

    def _check_losses(self) -> None:
        """Look at the losses since the last look.

        Raises:
            UserError: if one of them is no number, or too large to be one that is learned from.
        """
        if self._spoiled is not None:  # weights that learned from it are kept nowhere
            raise UserError(self._spoiled)
        recent, self._recent = self._recent, []
        values = torch.stack([loss for _, loss, _ in recent]).tolist() if recent else []
        for (step, _, image_ids), value in zip(recent, values, strict=True):
            if not abs(value) < EXPLODED:
                shown = ", ".join(map(str, image_ids[:8])) + (" ..." if len(image_ids) > 8 else "")
                self._spoiled = (
                    f"The training loss became {value:g} at step {step}, on the images {shown}: lower "
                    "optimizer.lr, set trainer.gradient_clip_val, or use trainer.precision=32-true; "
                    "the checkpoints of before stay as they are"
                )
                raise UserError(self._spoiled)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the gradient's norm, before it is clipped; weights of the objective's own step too."""
        gradients = [p.grad for p in self.captioner.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.log("train/gradient_norm", norm, on_step=False, on_epoch=True, batch_size=1)
        self.objective.on_before_optimizer_step()

    def on_train_start(self) -> None:
        """Start the clock: of an interrupted epoch no beginning is announced."""
        self._began = time.monotonic()

    def on_train_epoch_start(self) -> None:
        """Start the clock, and a new stage where the objective begins one with this epoch."""
        self._began = time.monotonic()
        scores = self.results.get("val", {})
        stage = self.objective.on_train_epoch_start(self.current_epoch, scores)
        if stage is not None:
            self._start_stage(stage)

    def _start_stage(self, stage: StageStart) -> None:
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        if stage.from_best_weights and best and Path(best).exists():
            load_weights(self.captioner, read_checkpoint(best))
        optimizer = self.optimizers(use_pl_optimizer=False)
        reset_optimizer(optimizer, stage.learning_rate)  # type: ignore[arg-type]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Move the schedule on, unless the objective has a rate of its own now."""
        if not self.objective.pauses_schedule:
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        """Log the learning rate that the epoch ended with, and its seconds, validation included."""
        self.log("train/seconds", time.monotonic() - self._began)
        optimizer = self.optimizers(use_pl_optimizer=False)
        self.log("train/lr", optimizer.param_groups[0]["lr"])  # type: ignore[union-attr]

    def logged_names(self, *, validates: bool) -> set[str]:
        """Return the names of all values that a run will log, but for an objective's diagnostics.

        Those are ``train/OBJECTIVE/...`` and known with the first step.
        """
        names = {"train/loss", "train/gradient_norm", "train/seconds", "train/lr"}
        if validates:
            scores = {*self.metrics.names(sets=self.several_captions), "loss"}
            if self.captioner.tags is not None:
                scores.add("tags_map")
            names |= {f"val/{name}" for name in scores}
        return names

    @property
    def several_captions(self) -> bool:
        """Whether several captions of each image are scored: the decoding's own, or samples."""
        return self.samples > 1 or captions_each(self.decoding) > 1

    def validation_step(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Generate and collect the captions of a batch."""
        self._evaluate(batch)

    def test_step(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Generate and collect the captions of a batch."""
        self._evaluate(batch)

    def _evaluate(self, batch: CaptionBatch) -> None:
        members: list[Any] = [self.captioner, *self.others]
        ensemble = Ensemble(members)
        memories = ensemble.encode(batch.images)
        memory = memories.members[0]
        model: Any = ensemble if self.others else self.captioner
        seen: Any = memories if self.others else memory
        captions, generated = generate(model, seen, self.decoding, self.tokenizer)
        self._looks |= self._watch(batch.image_ids, generated)
        sets = self._sets(model, seen, generated, batch.image_ids)
        self.metrics.update(batch.image_ids, captions, batch.references, sets)
        nll, tokens = caption_nll(members, memories.members, batch)
        for image_id, total, count in zip(
            batch.image_ids, nll.tolist(), tokens.tolist(), strict=True
        ):
            self._nll[image_id] = (total, count)
        if self.captioner.tags is not None:
            scores = self.captioner.tags(memory).float().cpu()
            there = self.captioner.tags.targets(batch.tokens).cpu()
            self._tags.update(zip(batch.image_ids, zip(scores, there, strict=True), strict=True))

    def _watch(self, image_ids: Sequence[int | str], generated: Generated) -> dict[Any, Looks]:
        """Return where the model looked for each word of the watched images' captions."""
        if generated.weights is None:
            return {}
        found = {}
        for row, image_id in enumerate(image_ids):
            if image_id in self.watched:
                ids = generated.tokens[row, 0, : int(generated.lengths[row, 0])].tolist()
                said = [i for i in ids if i != self.tokenizer.eos_id]
                weights = generated.weights[row, 0, : len(said)].float().cpu()
                found[image_id] = ([self.tokenizer.decode([i]) for i in said], weights)
        return found

    def _sets(
        self, model: Any, memory: Any, generated: Generated, image_ids: Sequence[int | str]
    ) -> list[list[str]] | None:
        """Return several captions of each image: those of the decoding, or else random ones."""
        if generated.tokens.shape[1] == 1:
            if self.samples < 2:
                return None
            length = getattr(self.decoding, "max_length", Sampling.max_length)
            # an image's draws are its own: the same in every epoch, and on any number of devices
            drawing = partial(
                Sampling(num_samples=self.samples, max_length=length),
                noise=noise_of(image_ids, self.samples, length),
            )
            _, generated = generate(model, memory, drawing, self.tokenizer)
        return [[text for text, _ in one] for one in all_captions(generated, self.tokenizer)]

    def on_validation_epoch_start(self) -> None:
        """Give every rank the same buffers."""
        share_buffers(self.captioner)

    def on_test_epoch_start(self) -> None:
        """Give every rank the same buffers."""
        share_buffers(self.captioner)

    def on_validation_epoch_end(self) -> None:
        """Score the whole validation split, once."""
        if self.trainer.sanity_checking:
            self._forget()
        else:
            self._score("val")

    def on_test_epoch_end(self) -> None:
        """Score the whole evaluated split, once."""
        self._score(self.evaluation_split)

    def _score(self, split: str) -> None:
        scores = self.metrics.compute()
        nll = np.array(list(of_all_ranks(self._nll).values()), dtype=np.float64)
        self.looks = of_all_ranks(self._looks)
        results = {**scores.corpus, "loss": float(nll[:, 0].sum() / max(1.0, nll[:, 1].sum()))}
        scores.statistics["loss"] = Statistic(nll, "ratio")
        if self.captioner.tags is not None:
            results["tags_map"] = tags_map(self._tags)
        self._forget()
        self.scores[split] = scores
        self.results[split] = results
        # what a callback waits for and could not be had, as METEOR's process that ended: a missing
        # value would end the run
        lost = {name for name in self.monitored if name.startswith(f"{split}/")}
        lost -= {f"{split}/{name}" for name in results}
        # every rank holds the same values: compute() gathered, deduplicated and broadcast them
        values = {f"{split}/{name}": value for name, value in results.items()}
        self.log_dict({**values, **dict.fromkeys(lost, math.nan)})

    def _forget(self) -> None:
        self.metrics.reset()
        self._nll.clear()
        self._tags.clear()
        self._looks.clear()

    def new_schedule(
        self, optimizer: Optimizer, *, steps: int, epochs: int
    ) -> dict[str, Any] | None:
        """Return Lightning's settings of the schedule for an optimizer, None without one."""
        if self._schedule is None:
            return None
        return self._schedule(optimizer, steps=steps, epochs=epochs)

    def configure_optimizers(self) -> Any:
        """Return the optimizer, with the encoder's own rate where it has one, and the schedule."""
        encoder = [p for p in self.captioner.encoder.parameters() if p.requires_grad]
        inside = {id(p) for p in encoder}
        rest = [p for p in self.captioner.parameters() if p.requires_grad and id(p) not in inside]
        groups: list[dict[str, Any]] = [{"params": rest}]
        rate = self.captioner.encoder.learning_rate
        if encoder:
            groups.append({"params": encoder} if rate is None else {"params": encoder, "lr": rate})
        optimizer = self.new_optimizer(groups)
        if self._schedule is None:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        schedule = self.new_schedule(optimizer, steps=steps, epochs=epochs)
        assert schedule is not None
        if "monitor" in schedule:  # it has a new value only where there was a validation
            every = self.trainer.check_val_every_n_epoch or 1
            schedule |= {"frequency": every, "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what makes the file self-contained beside the weights (plain types only).

        Raises:
            UserError: if the losses that led to these weights are no numbers.
        """
        self._check_losses()
        scores = {name: float(value) for name, value in self.results.get("val", {}).items()}
        checkpoint[KEY] = {**self._portable, "scores": scores}
        states = states_of_all_ranks()
        if OPTIMIZERS in checkpoint:
            checkpoint[RANDOM] = states
        else:  # one of weights alone, for use: nothing that only training needs
            weights: dict[str, Any] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {
                name: value for name, value in weights.items() if name.startswith(WEIGHTS_PREFIX)
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on drawing where the run stopped, so that it ends as it would have without the stop.

        With another number of processes those that are new draw as the first one does.
        """
        update_checkpoint(checkpoint, self)
        states = checkpoint.get(RANDOM) or [{}]
        rank = self.trainer.global_rank
        set_random_state(states[rank if rank < len(states) else 0])


def reset_optimizer(optimizer: Optimizer, learning_rate: float | None) -> None:
    """Forget what an optimizer has averaged, and give its first group a learning rate.

    The other groups keep the proportion of their rates; None leaves all rates as they are.
    """
    optimizer.state.clear()
    if learning_rate is None:
        return
    main = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * (group["lr"] / main if main else 1.0)


def random_state() -> dict[str, Tensor]:
    """Return the state of torch's generators, the CPU's and this process's GPU's."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def states_of_all_ranks() -> list[dict[str, Tensor]]:
    """Return each rank's ``random_state``; every rank must call it."""
    return all_gather_object(random_state())


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Bring torch's generators into a state that ``random_state`` returned."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def of_all_ranks(per_image: dict[int | str, Any]) -> dict[int | str, Any]:
    """Return what all ranks know, each image once and in one order whatever the number of ranks."""
    merged: dict[int | str, Any] = {}
    for part in reversed(all_gather_object(per_image)):
        merged.update(part)
    return {key: merged[key] for key in sorted(merged, key=str)}


def tags_map(per_image: dict[int | str, tuple[Tensor, Tensor]]) -> float:
    """Return the tags' mean average precision over all ranks' images."""
    scores, there = zip(*of_all_ranks(per_image).values(), strict=True)
    return mean_average_precision(torch.stack(scores), torch.stack(there))


def share_buffers(module: torch.nn.Module) -> None:
    """Copy rank 0's buffers to all ranks.

    Batch norm's running statistics follow what a rank has seen; without this the ranks would
    evaluate slightly different models, and not the one that the checkpoint holds.
    """
    broadcast_tensors(module.buffers())
