"""Preference optimization: its pairs, its loss by hand, its reference that stays what it was."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding.generated import Generated
from captionlab.decoding.sampling import Sampling
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy
from captionlab.objectives.policy_gradient.policy import sequence_log_probs
from captionlab.objectives.preference.objective import Preference
from captionlab.objectives.preference.pairs import all_pairs, best_against_worst, preference_loss
from captionlab.objectives.staged import Staged
from tests_support import PRESETS, Counting, tiny_captioner, tiny_preset


def batch(images: int = 4) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), generator=generator)
    return SimpleNamespace(
        prompts=None,
        images=pixels.byte(),
        tokens=torch.tensor([[1, 5, 6, 2]]).expand(images, 1, 4),
        lengths=torch.full((images, 1), 4),
        image_ids=list(range(images)),
        references=[["a"]] * images,
        scored_ids=None,
    )


def captions(images: int, width: int) -> Generated:
    """Captions whose first token is their number."""
    tokens = torch.arange(images * width).view(images, width, 1)
    nothing = torch.zeros(images, width)
    return Generated(tokens, torch.ones(images, width, dtype=torch.long), nothing, nothing, None)


def published(policy, reference, better, beta, smoothing):
    """The loss as DPO's published code writes it: one pair after another."""
    losses, margins = [], []
    for b, i, j in np.argwhere(better):
        logits = (policy[b, i] - policy[b, j]) - (reference[b, i] - reference[b, j])
        sigmoid = 1 / (1 + np.exp(-beta * logits))
        losses.append(-(1 - smoothing) * np.log(sigmoid) - smoothing * np.log(1 - sigmoid))
        margins.append(beta * logits)
    return np.mean(losses), np.array(margins)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("beta", [0.1, 1.5])
def test_the_loss_is_the_published_one(beta: float, smoothing: float):
    random = np.random.default_rng(0)
    policy, reference = random.normal(-20, 5, (2, 6, 4))
    reward = random.integers(0, 3, (6, 4)).astype(float)
    better = all_pairs(captions(6, 4), torch.tensor(reward), 0.0).better
    loss, margins = preference_loss(
        torch.tensor(policy - reference), better, beta=beta, label_smoothing=smoothing
    )
    expected, expected_margins = published(policy, reference, better.numpy(), beta, smoothing)
    assert loss.item() == pytest.approx(expected)
    assert margins.numpy() == pytest.approx(expected_margins)


def test_pairs_are_of_rewards_that_differ_by_more_than_the_margin():
    reward = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.3, 0.3], [1.0, 0.95, 0.9]])
    compared, better = all_pairs(captions(3, 3), reward, 0.2)
    assert better.nonzero().tolist() == [[0, 1, 0], [0, 1, 2], [0, 2, 0]]
    assert compared.tokens.shape == (3, 3, 1)
    compared, better = best_against_worst(captions(3, 3), reward, 0.2)
    assert better.tolist() == [[[False, True], [False, False]]] + 2 * [[[False] * 2] * 2]
    assert compared.tokens[0].flatten().tolist() == [1, 0]
    assert compared.tokens[2].flatten().tolist() == [6, 8]


def test_a_batch_without_a_pair_teaches_nothing():
    captioner = tiny_captioner(vocabulary=9).train()
    objective = Preference(reward=Counting(), reward_margin=100.0, check_steps=0, max_length=4)
    loss, diagnostics = objective(captioner, batch())
    loss.backward()
    assert (loss.item(), diagnostics["pairs"].item(), diagnostics["margin"].item()) == (0, 0, 0)
    assert all(p.grad is None or not p.grad.any() for p in captioner.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_at_the_start_the_model_is_its_reference(name: str):
    captioner = tiny_preset(name).train()
    objective = Preference(reward=Counting(), num_samples=6, max_length=6, check_steps=0)
    loss, diagnostics = objective(captioner, batch(8))
    assert diagnostics["pairs"] > 0
    assert loss.item() == pytest.approx(np.log(2), abs=1e-5)
    assert diagnostics["kl"].item() == pytest.approx(0, abs=1e-4)
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in captioner.parameters())
    assert all(p.grad is None for p in objective.reference.captioner.parameters())
    assert not list(objective.parameters())


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("normalized", [False, True])
def test_the_step_is_that_of_its_formula(normalized: bool, trainable: bool, monkeypatch):
    captioner = tiny_preset("attn_lstm", "model/connector=linear", vocabulary=9)
    captioner.encoder.requires_grad_(trainable)
    started = tiny_preset("attn_lstm", "model/connector=linear", vocabulary=9)
    objective = Preference(
        reward=Counting(),
        pairs="all",
        beta=0.7,
        length_normalized=normalized,
        max_length=6,
        check_steps=0,
    )
    objective(captioner, batch())  # the reference is what it is now
    with torch.no_grad():
        for parameter in captioner.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    kept = {}
    sampling = Sampling.__call__

    def keep(self, *args, **more):
        kept["drawn"] = sampling(self, *args, **more)
        return kept["drawn"]

    monkeypatch.setattr(Sampling, "__call__", keep)
    loss, diagnostics = objective(captioner, batch())
    drawn = kept["drawn"]
    pixels = batch().images
    with torch.no_grad():
        policy, lengths = sequence_log_probs(captioner, captioner.encode(pixels), drawn)
        reference, _ = sequence_log_probs(started, started.encode(pixels), drawn)
    scale = lengths if normalized else torch.ones_like(lengths)
    reward = np.array([[ids.count(5) for ids in image] for image in drawn.tokens.tolist()])
    better = reward[:, :, None] > reward[:, None, :]
    expected, margins = published(
        (policy / scale).numpy(), (reference / scale).numpy(), better, 0.7, 0
    )
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert diagnostics["margin"].item() == pytest.approx(margins.mean(), rel=1e-3)
    assert diagnostics["reward_accuracy"].item() == pytest.approx((margins > 0).mean())
    assert diagnostics["kl"].item() == pytest.approx((policy - reference).mean().item(), rel=1e-3)
    assert not torch.allclose(policy, reference)


def test_only_an_encoder_that_learns_is_kept_twice():
    captioner = tiny_captioner(vocabulary=9)
    objective = Preference(reward=Counting(), max_length=4, check_steps=0)
    objective(captioner, batch())
    kept = objective.get_extra_state()["reference"]
    assert kept.keys() == captioner.state_dict().keys()
    captioner.encoder.requires_grad_(False)
    looks = []
    captioner.encoder.register_forward_hook(lambda *call: looks.append(call))
    objective = Preference(reward=Counting(), max_length=4, check_steps=0)
    objective(captioner, batch())
    assert len(looks) == 1
    kept = objective.get_extra_state()["reference"]
    assert kept
    assert not any(name.startswith("encoder.") for name in kept)


def test_it_goes_on_with_the_reference_of_its_state():
    captioner = tiny_captioner(vocabulary=9)
    objective = Preference(reward=Counting(), max_length=4, check_steps=0)
    objective(captioner, batch())
    before = {k: v.clone() for k, v in objective.state_dict()["_extra_state"]["reference"].items()}
    with torch.no_grad():
        for parameter in captioner.parameters():
            parameter.mul_(1.5)
    resumed = Preference(reward=Counting(), max_length=4, check_steps=0)
    resumed.load_state_dict(objective.state_dict())
    assert resumed.state_dict()["_extra_state"]["reference"].keys() == before.keys()
    resumed(captioner, batch())
    for name, value in resumed.reference.captioner.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_in_a_second_stage_the_reference_is_the_captioner_that_begins_it():
    captioner = tiny_captioner(vocabulary=9)
    preference = Preference(reward=Counting(), max_length=4, check_steps=0)
    objective = Staged(first=CrossEntropy(), then=preference, switch_epoch=1)
    objective.on_train_batch_start(0.5)
    objective(captioner, batch())
    assert preference.reference is None
    with torch.no_grad():
        for parameter in captioner.parameters():
            parameter.mul_(1.5)
    objective.on_train_batch_start(1.0)
    _, diagnostics = objective(captioner, batch())
    assert diagnostics["kl"].item() == pytest.approx(0, abs=1e-5)
    reference = preference.reference.captioner.state_dict()
    assert all(torch.equal(reference[n], w) for n, w in captioner.state_dict().items())


@pytest.mark.parametrize("settings", [{}, {"pairs": "all"}, {"likelihood": 0.5}])
def test_it_makes_what_is_rewarded_likelier(settings: dict):
    torch.manual_seed(0)
    captioner = tiny_captioner(vocabulary=9).train()
    objective = Preference(
        reward=Counting(), num_samples=8, max_length=6, check_steps=0, **settings
    )
    optimizer = torch.optim.Adam(captioner.parameters(), lr=1e-3)
    seen = []
    for _ in range(10):
        loss, diagnostics = objective(captioner, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append({name: float(value) for name, value in diagnostics.items()})
    assert max(step["reward"] for step in seen[5:]) > seen[0]["reward"] + 0.6
    assert max(step["reward_accuracy"] for step in seen) > 0.9
    assert seen[-1]["kl"] > 1.0
    assert ("nll" in seen[-1]) == ("likelihood" in settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": "best_worse"}, "did you mean 'best_worst'"),
        ({"num_samples": 1}, "at least 2: a pair"),
        ({"beta": 0.0}, "must be above 0"),
        ({"label_smoothing": 0.5}, r"not in \[0, 0.5\)"),
        ({"reward_margin": -1.0}, "reward_margin=-1.0 must not be negative"),
        ({"likelihood": -1.0}, "likelihood=-1.0 must not be negative"),
        ({"check_steps": -1}, "check_steps=-1 must be 0"),
    ],
)
def test_values_that_cannot_be_are_said(settings: dict, message: str):
    with pytest.raises(UserError, match=message):
        Preference(reward=Counting(), **settings)
