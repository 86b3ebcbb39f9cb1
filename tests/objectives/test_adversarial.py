"""Adversarial training: its gradients, both sides' learning, and what resumes it."""

from __future__ import annotations

import copy
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captionlab.errors import UserError
from captionlab.memory import Memory
from captionlab.models.discriminators import (
    CNNDiscriminator,
    MatchingDiscriminator,
    SetDiscriminator,
)
from captionlab.objectives.adversarial import Adversarial, Variety, straight_through
from captionlab.objectives.adversary import Adversary
from captionlab.objectives.rewards import Reward
from tests_support import tiny_captioner


class Nothing(Reward):
    """Every caption is worth nothing: what is learned comes from the discriminator."""

    def __init__(self) -> None:
        self.weights = {}

    def __call__(self, image_ids, captions):
        return {"reward": np.zeros(len(captions))}


def objective(**more) -> Adversarial:
    settings = {
        "discriminator": partial(CNNDiscriminator, embedding=16, hidden=16),
        "reward": Nothing(),
        "adversarial": 1.0,
        "likelihood": 0.0,
        "warm_up_steps": 5,
        "max_length": 5,
        "num_samples": 4,
        "discriminator_lr": 5e-3,
        "discriminator_limit": 0.8,
    }
    return Adversarial(**{**settings, **more})


def batch(images: int = 6, captions: int = 4) -> SimpleNamespace:
    """Persons say 5 6 or 6 5, whatever the image."""
    order = torch.tensor([[1, 5, 6, 2], [1, 6, 5, 2]])
    tokens = order[torch.arange(captions) % 2].expand(images, -1, -1)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    return SimpleNamespace(
        images=pixels.byte(),
        tokens=tokens,
        lengths=torch.full((images, captions), 4),
        image_ids=list(range(images)),
        references=[["a"]] * images,
    )


class LikesFive(torch.nn.Module):
    """A judge that never learns: the share of a caption's words that are word 5."""

    sets = False

    def __init__(self) -> None:
        super().__init__()
        self.worth = torch.nn.Parameter(
            torch.nn.functional.one_hot(torch.tensor(5), 9).float()[:, None]
        )

    def embed(self, ids, real):
        return self.worth[ids] * real.unsqueeze(-1)

    def embed_soft(self, words, real):
        found = words @ self.worth
        return found.new_zeros(*real.shape, 1).masked_scatter(real.unsqueeze(-1), found)

    def forward(self, memory, embedded, real):
        return embedded.sum((-1, -2)) / real.sum(-1).clamp_min(1)


@pytest.mark.parametrize("estimator", ["policy", "gumbel"])
def test_the_captioner_comes_to_say_what_the_judge_likes(estimator, monkeypatch):
    torch.manual_seed(1)
    captioner = tiny_captioner(vocabulary=9).train()
    training = objective(estimator=estimator, warm_up_steps=0, least_accuracy=0.0)
    training(captioner, batch())  # builds the discriminator
    training.adversary.network = LikesFive()
    known = {"d_accuracy": torch.tensor(0.9)}
    monkeypatch.setattr(training.adversary, "learn", lambda *_: known)
    monkeypatch.setattr(training.adversary, "agree", lambda: None)
    optimizer = torch.optim.Adam(captioner.parameters(), lr=3e-3)
    judged = []
    for _ in range(25):
        loss, diagnostics = training(captioner, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        judged.append(float(diagnostics["judged"]))
    # sigmoid(share of fives): 0.53 at random, 0.73 for nothing else
    assert judged[0] < 0.6
    assert judged[-1] > 0.68


@pytest.mark.parametrize("loss", ["bce", "hinge"])
def test_the_discriminator_learns_while_the_captioner_trains(loss):
    torch.manual_seed(1)
    captioner = tiny_captioner(vocabulary=9).train()
    training = objective(loss=loss, likelihood=1.0, adversarial=0.5, discriminator_limit=0.95)
    optimizer = torch.optim.Adam(captioner.parameters(), lr=1e-3)
    accuracies, likelihoods = [], []
    for _ in range(60):
        value, diagnostics = training(captioner, batch())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        accuracies.append(float(diagnostics["d_accuracy"]))
        likelihoods.append(float(diagnostics["nll"]))
    assert max(accuracies) > 0.8
    assert likelihoods[-1] < likelihoods[0]


def test_the_discriminators_weights_are_nobody_elses():
    captioner, training = tiny_captioner(vocabulary=9).train(), objective()
    value, _ = training(captioner, batch())
    value.backward()
    assert list(training.parameters()) == []
    embedded = torch.randn(6, 4, 3, 16, requires_grad=True)
    real = torch.ones(6, 4, 3, dtype=torch.bool)
    memory = captioner.encode(batch().images).each(torch.Tensor.detach)
    training.adversary.optimizer.zero_grad()
    training.adversary.judge(memory, embedded, real).sum().backward()
    assert embedded.grad.abs().sum() > 0
    assert all(p.grad is None for p in training.adversary.network.parameters())
    assert all(p.requires_grad for p in training.adversary.network.parameters())


def test_a_discriminator_that_is_too_good_waits():
    torch.manual_seed(0)
    network = MatchingDiscriminator(embedding=8, hidden=8, vocabulary_size=9, memory_dim=4)
    pooled = torch.randn(3, 4)
    memory = Memory(pooled[:, None], pooled, torch.ones(3, 1, dtype=torch.bool))
    ids = torch.randint(4, 9, (3, 2, 4))
    captions = (ids, torch.ones_like(ids).bool())
    for limit, learns in ((1.1, True), (0.3, False)):
        adversary = Adversary(copy.deepcopy(network), learning_rate=0.1, loss="bce", limit=limit)
        adversary.learn(memory, captions, captions)
        before, after = network.state_dict(), adversary.network.state_dict()
        assert any(not torch.equal(before[k], after[k]) for k in before) == learns


def test_during_the_warm_up_and_while_it_knows_nothing_it_is_not_listened_to():
    captioner = tiny_captioner(vocabulary=9).train()
    training = objective(warm_up_steps=2)
    shares = [float(training(captioner, batch())[1]["lambda"]) for _ in range(3)]
    assert shares[:2] == [0.0, 0.0]
    deaf = objective(warm_up_steps=0, least_accuracy=1.0)
    assert float(deaf(captioner, batch())[1]["lambda"]) == 0.0
    ramp = objective(ramp_epochs=4.0, temperature=2.0, final_temperature=1.0, anneal_epochs=2.0)
    ramp.at(1.0)
    assert (ramp.share, ramp.temperature) == (0.25, 1.5)


def test_a_resumed_run_goes_on_with_the_same_discriminator():
    captioner = tiny_captioner(vocabulary=9).train()
    first = objective()
    for _ in range(3):
        first(captioner, batch())
    state = copy.deepcopy(first.get_extra_state())
    again = objective()
    again.set_extra_state(state)
    losses = []
    for training in (first, again):
        torch.manual_seed(7)
        for _ in range(2):
            _, diagnostics = training(captioner, batch())
        losses.append({k: float(v) for k, v in diagnostics.items()})
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert again.adversary.steps == 5


def test_words_are_hard_forward_and_soft_backward():
    torch.manual_seed(0)
    logits = torch.randn(5, 7, requires_grad=True)
    words = torch.multinomial(logits.detach().softmax(-1), 1).squeeze(1)
    found = straight_through(logits, words, 0.7)
    assert torch.equal(found.argmax(-1), words)
    torch.testing.assert_close(found.sum(-1), torch.ones(5))
    torch.testing.assert_close(found.detach().amax(-1), torch.ones(5))
    found[:, 2].sum().backward()
    assert logits.grad.abs().sum() > 0
    # the gradient of a softmax sums to zero over a row
    torch.testing.assert_close(logits.grad.sum(-1), torch.zeros(5), atol=1e-6, rtol=0)


def test_the_noise_behind_drawn_words_is_gumbel(monkeypatch):
    torch.manual_seed(0)
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5]).expand(40_000, -1)
    words = torch.multinomial(logits.softmax(-1), 1).squeeze(1)
    kept = []
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(
        torch.Tensor, "softmax", lambda self, dim: kept.append(self) or softmax(self, dim)
    )
    straight_through(logits, words, 1.0)
    noise = kept[0] - logits
    assert torch.equal(kept[0].argmax(-1), words)
    for column in noise.T:
        assert float(column.mean()) == pytest.approx(0.5772, abs=0.03)
        assert float(column.var()) == pytest.approx(math.pi**2 / 6, abs=0.06)


def test_a_collapse_is_said_once(caplog):
    variety = Variety(window=5)
    generator = torch.Generator().manual_seed(0)
    real = torch.ones(4, 3, 6, dtype=torch.bool)
    for _ in range(6):
        variety(torch.randint(4, 99, (4, 3, 6), generator=generator), real)
    assert not caplog.records
    for _ in range(80):
        share = variety(torch.full((4, 3, 6), 7), real)
    assert float(share) == pytest.approx(1 / 60)
    assert [r.message.startswith("the captions collapse") for r in caplog.records] == [True]


def test_values_that_cannot_be_are_said():
    with pytest.raises(UserError, match="did you mean 'policy'"):
        objective(estimator="polcy")
    with pytest.raises(UserError, match=r"adversarial=1\.5 is not between 0 and 1"):
        objective(adversarial=1.5)
    sets = objective(discriminator=partial(SetDiscriminator, embedding=8, hidden=8), num_samples=3)
    with pytest.raises(UserError, match=r"objective\.num_samples=4"):
        sets(tiny_captioner(vocabulary=9).train(), batch())
