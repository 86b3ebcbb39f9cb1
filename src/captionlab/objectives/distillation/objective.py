"""Knowledge distillation: a captioner learns what trained ones would say.

Legend: B images, K captions an image, T tokens, M real tokens of a batch, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.decoding.beam import Beam
from captionlab.decoding.ensemble import Ensemble, EnsembleMemory
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import teacher_forced
from captionlab.objectives.base import Batch, Objective, rank_weight
from captionlab.objectives.cross_entropy_loss import cross_entropy
from captionlab.objectives.frozen import FrozenCaptioner
from captionlab.objectives.likelihood.cross_entropy import with_penalty
from captionlab.objectives.policy_gradient.policy import SampledTokens, special_ids
from captionlab.objectives.prompted_images import prompted_images

Level = Literal["word", "sequence"]


class Distillation(Objective):
    """Cross-entropy mixed with what one or several teachers say of the same images.

    ``teacher`` names their checkpoints; whoever begins the run loads them (``set_teachers``). At the
    level of words (Hinton et al. 2015, section 2) the loss is ``alpha T^2 KL(q || p) + (1 - alpha)
    nll``: q is the mean of the teachers' probabilities, p the student's, both with logits divided by
    ``temperature`` T, after every word of the batch's own captions. At the level of sequences (Kim
    and Rush 2016, section 3.2) the KL gives way to the student's cross-entropy on the caption that
    the teachers write together, by a beam search of ``beam_size``, anew in each step. Teachers are
    in evaluation mode, and in no checkpoint but for a digest of their weights: a run resumes with
    the teachers that it had.

    Raises:
        UserError: for a value outside its range.
    """

    name = "distillation"
    reads_images = True

    def __init__(
        self,
        *,
        teacher: str | list[str],
        level: Level = "word",
        alpha: float = 0.5,
        temperature: float = 1.0,
        beam_size: int = 3,
        max_length: int = 20,
    ) -> None:
        super().__init__()
        if level not in get_args(Level):
            hint = did_you_mean(str(level), get_args(Level))
            raise UserError(f"objective.level={level!r}: there is no such level; {hint}")
        if not 0 < alpha <= 1:
            raise UserError(
                f"objective.alpha={alpha} is not in (0, 1]: 1 learns from the teachers alone, and "
                "without them there is objective=cross_entropy"
            )
        if not temperature > 0:
            raise UserError(f"objective.temperature={temperature} must be above 0")
        if level == "sequence" and temperature != 1:
            raise UserError(
                f"objective.temperature={temperature} softens words: leave it at 1.0 with "
                "objective.level=sequence"
            )
        self.teacher_paths = (teacher,) if isinstance(teacher, str) else tuple(teacher)
        self.level = level
        self.alpha = alpha
        self.temperature = temperature
        self.beam = Beam(beam_size=beam_size, max_length=max_length)
        self._teachers: tuple[FrozenCaptioner, ...] = ()
        self._digests: list[str] = []

    def set_teachers(self, captioners: Sequence[Captioner]) -> None:
        """Learn from these captioners, which have the student's vocabulary.

        Raises:
            UserError: where there is none.
        """
        if not captioners:
            raise UserError(
                "objective=distillation has nobody to learn from: give objective.teacher=CKPT, or "
                "objective.teacher=[CKPT,CKPT]"
            )
        self._teachers = tuple(map(FrozenCaptioner, captioners))
        self._digests = [weights_digest(captioner) for captioner in captioners]

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and diagnostics: ``nll`` of the batch's captions in nats a token.

        With words ``kl`` at the temperature, and ``agreement``, the share of words that student and
        teachers find most probable alike; with sequences ``teacher_nll``, the student's on the
        teachers' captions.
        """
        memory = captioner.encode(batch.images)
        logits, targets, weights, real, _ = teacher_forced(captioner, memory, batch)
        logits = logits.float()
        nll = F.cross_entropy(logits, targets)
        nll = nll * rank_weight(len(targets), nll)
        learn = self._learn_words if self.level == "word" else self._learn_captions
        distilled, diagnostics = learn(captioner, memory, batch, logits)
        loss = self.alpha * distilled + (1 - self.alpha) * nll
        diagnostics["nll"] = nll.detach()
        return with_penalty(captioner, weights, real, loss, diagnostics)

    def get_extra_state(self) -> dict[str, object]:
        """Return what tells the teachers from others, for a checkpoint."""
        return {"teachers": self._digests}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with the same teachers.

        Raises:
            UserError: if these are others, or in another order.
        """
        if self._digests != state["teachers"]:
            raise UserError(
                f"objective.teacher={list(self.teacher_paths)} are not the captioners that the run "
                "began with: their files were written again, or others are named; give those it had"
            )

    def _learn_words(
        self, captioner: Captioner, memory: Memory, batch: Batch, logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the KL from the teachers' words to the student's logits (M,V), times T^2."""
        expected = self.word_probabilities(batch)
        log_probs = (logits / self.temperature).log_softmax(-1)
        kl = F.kl_div(log_probs, expected, reduction="sum") / max(1, len(logits))
        kl = kl * rank_weight(len(logits), kl)
        same = logits.detach().argmax(-1) == expected.argmax(-1)
        diagnostics = {"kl": kl.detach(), "agreement": same.float().mean()}
        return self.temperature**2 * kl, diagnostics

    def _learn_captions(
        self, captioner: Captioner, memory: Memory, batch: Batch, logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the student's cross-entropy on the teachers' captions."""
        asked = prompted_images(memory, batch)
        answers = teacher_forced(captioner, asked.memory, self.captions(batch))
        nll, _ = cross_entropy(answers.logits, answers.targets)
        nll = nll * rank_weight(len(answers.targets), nll)
        return nll, {"teacher_nll": nll.detach()}

    @torch.no_grad()
    def word_probabilities(self, batch: Batch) -> Tensor:
        """Return the mean of the teachers' probabilities (M,V) of the batch's real tokens."""
        total: Tensor | None = None
        for teacher in self._teachers:
            memory = teacher.encode(batch.images)
            logits = teacher_forced(teacher.captioner, memory, batch).logits.float()
            probs = (logits / self.temperature).softmax(-1)
            total = probs if total is None else total + probs
        assert total is not None  # set_teachers asks for one
        return total / len(self._teachers)

    @torch.no_grad()
    def captions(self, batch: Batch) -> SampledTokens:
        """Return the caption that the teachers write together of each image, or each prompt of one."""
        members = tuple(teacher.captioner for teacher in self._teachers)
        asked = [prompted_images(teacher.encode(batch.images), batch) for teacher in self._teachers]
        memory = EnsembleMemory(tuple(one.memory for one in asked))
        special = special_ids(members[0])
        written = asked[0].sample(self.beam, Ensemble(members), memory, **special)
        tokens = F.pad(written.tokens[:, :1], (1, 0), value=special["bos_id"])
        return SampledTokens(tokens, written.lengths[:, :1] + 1, asked[0].prompts)


def weights_digest(captioner: Captioner) -> str:
    """Return what tells a captioner's weights from any others."""
    digest = hashlib.sha256()
    for name, tensor in sorted(captioner.state_dict().items()):
        digest.update(name.encode())
        # as bytes: numpy knows no bfloat16
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
