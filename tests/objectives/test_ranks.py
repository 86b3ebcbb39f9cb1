"""The mean of two processes' gradients is the gradient of one process with the joined batch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from captionlab.decoding.generated import Generated
from captionlab.objectives.adversarial import gumbel_gan
from captionlab.objectives.adversarial.build import build_gan
from captionlab.objectives.adversarial.discriminators import CNNDiscriminator
from captionlab.objectives.distillation.objective import Distillation
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy
from captionlab.objectives.likelihood.hard_attention import HardAttentionLoss
from captionlab.objectives.likelihood.scheduled_sampling import ScheduledSampling
from captionlab.objectives.likelihood.variational import Variational
from captionlab.objectives.policy_gradient.self_critical import SelfCritical
from captionlab.objectives.preference.objective import Preference
from ranks_support import run_ranks
from tests_support import Counting, tiny_preset

# captions of the first half are far longer than those of the second
LENGTHS = torch.tensor([[9, 8], [10, 0], [3, 3], [2, 4]])
WHOLE = slice(0, 4)


def batch(part: slice) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, 9, (4, 2, 10), generator=generator)
    steps = torch.arange(10)
    tokens = tokens.masked_fill(steps >= LENGTHS[..., None], 0)
    tokens[..., 0] = torch.where(LENGTHS > 0, 1, 0)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=generator).byte()
    return SimpleNamespace(
        prompts=None,
        images=pixels[part],
        tokens=tokens[part],
        lengths=LENGTHS[part],
        image_ids=list(range(4))[part],
        references=[["a"]] * len(tokens[part]),
    )


def drawn(part: slice) -> Generated:
    """Captions that every process agrees on, of different lengths."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.tensor([[7, 6, 8], [8, 7, 7], [2, 1, 2], [1, 2, 3]])
    tokens = torch.randint(4, 9, (4, 3, 8), generator=generator)
    tokens = tokens.masked_fill(torch.arange(8) >= lengths[..., None], 0)
    nothing = torch.zeros(4, 3)[part]
    return Generated(tokens[part], lengths[part], nothing, nothing, None)


class Drawn:
    """Stands in for sampling: what a process draws depends on its images alone."""

    temperature = 1.0
    num_samples = 3

    def __init__(self, part: slice) -> None:
        self.part = part

    def __call__(self, *_: object, **__: object) -> Generated:
        return drawn(self.part)


def without_noise(logits: torch.Tensor, words: torch.Tensor, temperature: float) -> torch.Tensor:
    soft = (logits / temperature).softmax(-1)
    return F.one_hot(words, logits.shape[-1]) + soft - soft.detach()


def objective_of(kind: str, part: slice) -> Any:
    if kind.startswith("self_critical"):
        baseline = "moving_average" if kind.endswith("average") else "leave_one_out"
        found = SelfCritical(
            reward=Counting(), likelihood=0.5, check_steps=0, baseline=baseline, num_samples=3
        )
        found.sampling = Drawn(part)
        return found
    if kind == "preference":
        # of the second half one image has no pair, of the first all have three
        found = Preference(
            reward=Counting(), likelihood=0.5, check_steps=0, pairs="all", num_samples=3
        )
        found.sampling = Drawn(part)
        return found
    if kind.startswith("distillation"):
        level = "sequence" if kind.endswith("sequence") else "word"
        found = Distillation(teacher="teacher.ckpt", level=level, max_length=4)
        found.set_teachers([tiny_preset("show_tell", vocabulary=9)])
        return found
    if kind == "adversarial":
        found = build_gan(
            reward=Counting(),
            discriminator=partial(CNNDiscriminator, embedding=8, hidden=8, dropout=0.0),
            estimator="gumbel",
            feature_matching=1.0,
            num_samples=3,
            warm_up_steps=0,
            discriminator_limit=0.0,
        )
        found.least_accuracy = -1.0  # listened to at once
        found.sampling = Drawn(part)
        gumbel_gan.straight_through = without_noise
        return found
    return {
        "cross_entropy": partial(CrossEntropy, label_smoothing=0.1),
        "hard_attention": HardAttentionLoss,
        # between the first dimension of one half (0.058) and of the other (0.064)
        "variational": partial(Variational, free_bits=0.06, anneal_epochs=0),
        "scheduled_sampling": ScheduledSampling,
    }[kind]()


MODEL = {"hard_attention": "hard_attn", "variational": "cvae"}


def gradients(kind: str, part: slice) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    captioner = tiny_preset(
        MODEL.get(kind, "tiny"), vocabulary=9
    )  # in evaluation: nothing is drawn
    if kind == "cross_entropy":
        captioner.decoder.attention_penalty = 1.0
    torch.manual_seed(0)  # of the discriminator, which is built in the first step
    loss, diagnostics = objective_of(kind, part)(captioner, batch(part))
    loss.backward()
    found = {n: p.grad for n, p in captioner.named_parameters() if p.grad is not None}
    return {**found, "loss": loss.detach(), "nll": diagnostics["nll"]}


KINDS = [
    "cross_entropy",
    "scheduled_sampling",
    "hard_attention",
    "variational",
    "self_critical",
    "self_critical, moving average",
    "preference",
    "distillation",
    "distillation, sequence",
    "adversarial",
]


def work(rank: int, folder: Path) -> None:
    found = {kind: gradients(kind, slice(2 * rank, 2 * rank + 2)) for kind in KINDS}
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(work, folder)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_halves_of_a_batch_teach_what_the_whole_teaches(kind: str, halves: list[dict]):
    first, second = (half[kind] for half in halves)
    for name, value in gradients(kind, WHOLE).items():
        torch.testing.assert_close((first[name] + second[name]) / 2, value, msg=name)
