"""Adversarial training: its gradients, both sides' learning, and what resumes it."""

from __future__ import annotations

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.core.renamed import rename_targets
from captionlab.core.targets import locate
from captionlab.objectives.adversarial.build import build_gan
from captionlab.objectives.adversarial.discriminator_trainer import (
    DiscriminatorTrainer,
    MaskedTokens,
)
from captionlab.objectives.adversarial.discriminators import (
    CNNDiscriminator,
    Discriminator,
    DiscriminatorOutput,
    MatchingDiscriminator,
    SetDiscriminator,
)
from captionlab.objectives.adversarial.gumbel_gan import GumbelGAN
from captionlab.objectives.adversarial.objective import AdversarialObjective
from captionlab.objectives.adversarial.policy_gan import PolicyGAN
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from tests_support import tiny_captioner


class Nothing(Reward):
    """Every caption is worth nothing: what is learned comes from the discriminator."""

    def __init__(self) -> None:
        self.weights = {}

    def __call__(self, image_ids, captions):
        return {"reward": np.zeros(len(captions))}


def objective(**more) -> AdversarialObjective:
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
    return build_gan(**{**settings, **more})


def batch(images: int = 6, captions: int = 4) -> SimpleNamespace:
    """Persons say 5 6 or 6 5, whatever the image."""
    order = torch.tensor([[1, 5, 6, 2], [1, 6, 5, 2]])
    tokens = order[torch.arange(captions) % 2].expand(images, -1, -1)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    return SimpleNamespace(
        prompts=None,
        images=pixels.byte(),
        tokens=tokens,
        lengths=torch.full((images, captions), 4),
        image_ids=list(range(images)),
        references=[["a"]] * images,
    )


class LikesFive(Discriminator):
    """A judge that never learns: the share of a caption's words that are word 5."""

    def __init__(self) -> None:
        super().__init__(
            embedding=1, hidden=1, dropout=0.0, spectral=False, vocabulary_size=9, memory_dim=1
        )
        five = torch.nn.functional.one_hot(torch.tensor(5), 9).float()
        self.words.weight.data.copy_(five[:, None])

    def encode(self, embedded, mask):
        return embedded.sum((-1, -2)).div(mask.sum(-1).clamp_min(1)).unsqueeze(-1)

    def match(self, memory, encoded, mask):
        return DiscriminatorOutput(encoded.squeeze(-1), encoded)


@pytest.mark.parametrize(
    "how",
    [
        {"estimator": "policy"},
        {"estimator": "policy", "rollouts": 2},
        {"estimator": "policy", "signal": "probability"},
        {"estimator": "gumbel"},
    ],
    ids=str,
)
def test_the_captioner_comes_to_say_what_the_judge_likes(how, monkeypatch):
    torch.manual_seed(1)
    captioner = tiny_captioner(vocabulary=9).train()
    training = objective(warm_up_steps=0, least_accuracy=0.0, sample_temperature=1.0, **how)
    training(captioner, batch())  # builds the discriminator
    training.trainer.network = LikesFive()
    known = {"d_accuracy": torch.tensor(0.9)}
    monkeypatch.setattr(training.trainer, "accumulate", lambda *_: known)
    monkeypatch.setattr(training.trainer, "broadcast_weights", lambda: None)
    optimizer = torch.optim.Adam(captioner.parameters(), lr=3e-3)
    judged = []
    for _ in range(40):
        loss, diagnostics = training(captioner, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        judged.append(float(diagnostics["judged"]))
    # the share of fives: a seventh at random
    assert judged[0] < 0.4
    assert judged[-1] > 0.7


@pytest.mark.parametrize("loss", ["bce", "hinge", "wgan"])
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
        training.on_before_optimizer_step()
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
    training.on_before_optimizer_step()
    with training.trainer.frozen() as network:
        network(memory, embedded, real).scores.sum().backward()
    assert embedded.grad.abs().sum() > 0
    assert all(p.grad is None for p in training.trainer.network.parameters())
    assert all(p.requires_grad for p in training.trainer.network.parameters())


def test_a_discriminator_that_is_too_good_waits():
    torch.manual_seed(0)
    network = MatchingDiscriminator(embedding=8, hidden=8, vocabulary_size=9, memory_dim=4)
    pooled = torch.randn(3, 4)
    memory = Memory(pooled[:, None], pooled, torch.ones(3, 1, dtype=torch.bool))
    ids = torch.randint(4, 9, (3, 2, 4))
    captions = MaskedTokens(ids, torch.ones_like(ids).bool())
    for limit, learns in ((1.1, True), (0.3, False)):
        trainer = DiscriminatorTrainer(
            copy.deepcopy(network), learning_rate=0.1, loss="bce", accuracy_limit=limit
        )
        trainer.accumulate(memory, captions, captions)
        trainer.step()
        before, after = network.state_dict(), trainer.network.state_dict()
        assert any(not torch.equal(before[k], after[k]) for k in before) == learns


def test_during_the_warm_up_and_while_it_knows_nothing_it_is_not_listened_to():
    captioner = tiny_captioner(vocabulary=9).train()
    training = objective(warm_up_steps=2)
    shares = []
    for _ in range(3):
        shares.append(float(training(captioner, batch())[1]["lambda"]))
        training.on_before_optimizer_step()
    assert shares[:2] == [0.0, 0.0]
    deaf = objective(warm_up_steps=0, least_accuracy=1.0)
    assert float(deaf(captioner, batch())[1]["lambda"]) == 0.0
    ramp = objective(
        estimator="gumbel",
        ramp_epochs=4.0,
        temperature=2.0,
        final_temperature=1.0,
        anneal_epochs=2.0,
    )
    ramp.on_train_batch_start(1.0)
    assert (ramp.weight, ramp.temperature) == (0.25, 1.5)


def test_a_resumed_run_goes_on_with_the_same_discriminator():
    captioner = tiny_captioner(vocabulary=9).train()
    first = objective()
    for _ in range(3):
        first(captioner, batch())
        first.on_before_optimizer_step()
    state = copy.deepcopy(first.get_extra_state())
    again = objective()
    again.set_extra_state(state)
    losses = []
    for training in (first, again):
        torch.manual_seed(7)
        for _ in range(2):
            _, diagnostics = training(captioner, batch())
            training.on_before_optimizer_step()
        losses.append({k: float(v) for k, v in diagnostics.items()})
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert again.trainer.steps == 5


def test_a_run_of_version_0_1_goes_on():
    """Its extra state, written out: these keys are what its checkpoints hold."""
    torch.manual_seed(0)
    network = CNNDiscriminator(embedding=16, hidden=16, vocabulary_size=9, memory_dim=128)
    weights = {
        "words.weight": (9, 16),
        "image.weight": (16, 128),
        "image.bias": (16,),
        **{f"convolutions.{i}.weight": (16, 16, i + 1) for i in range(4)},
        **{f"convolutions.{i}.bias": (16,) for i in range(4)},
        "join.weight": (16, 80),
        "join.bias": (16,),
        "score.weight": (1, 16),
        "score.bias": (1,),
    }
    stored = {
        "adversary": {
            "network": {name: torch.randn(shape) for name, shape in weights.items()},
            "optimizer": torch.optim.Adam(network.parameters()).state_dict(),
            "steps": 7,
            "accuracy": 0.75,
            "gradient_norm": 0.5,
        },
        "variety": [0.5, 0.25],
    }
    training = objective()
    training.load_state_dict({"_extra_state": copy.deepcopy(stored)})
    kept = training.state_dict()["_extra_state"]  # before the discriminator is built
    assert kept["adversary"].keys() == stored["adversary"].keys()
    training(tiny_captioner(vocabulary=9).train(), batch())
    assert (training.trainer.steps, training.diversity.history[:2]) == (7, [0.5, 0.25])
    kept = training.state_dict()["_extra_state"]
    assert kept.keys() == stored.keys()
    assert kept["adversary"].keys() == stored["adversary"].keys()
    for name, value in stored["adversary"]["network"].items():
        assert torch.equal(kept["adversary"]["network"][name], value), name


def test_half_batches_that_are_gathered_are_one_batch():
    """With accumulation both sides step once, along the mean of the batches' gradients."""
    torch.manual_seed(0)
    network = CNNDiscriminator(embedding=8, hidden=8, dropout=0.0, vocabulary_size=9, memory_dim=4)
    pooled = torch.randn(2, 4).repeat(2, 1)  # the other image is the same in a half and the whole
    seen = Memory(pooled[:, None], pooled, torch.ones(4, 1, dtype=torch.bool))
    captions = [torch.randint(4, 9, (4, 2, 4)) for _ in range(2)]
    real = torch.ones(4, 2, 4, dtype=torch.bool)

    def halves(part: slice):
        return seen.each(lambda t: t[part]), *(MaskedTokens(c[part], real[part]) for c in captions)

    weights = []
    for parts in ([slice(0, 4)], [slice(0, 2), slice(2, 4)]):
        trainer = DiscriminatorTrainer(
            copy.deepcopy(network), learning_rate=0.1, loss="bce", accuracy_limit=1.1
        )
        for part in parts:
            trainer.accumulate(*halves(part))
        trainer.step()
        assert trainer.steps == 1
        weights.append(trainer.network.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value)


def test_the_gradient_penalty_is_least_where_the_slope_is_one():
    """Equation 3 of Gulrajani et al. for a judge whose slope is known everywhere."""
    trainer = DiscriminatorTrainer(
        MatchingDiscriminator(embedding=3, hidden=3, vocabulary_size=9, memory_dim=4),
        learning_rate=0.1,
        loss="wgan",
        accuracy_limit=1.1,
    )
    pooled = torch.randn(2, 4)
    seen = Memory(pooled[:, None], pooled, torch.ones(2, 1, dtype=torch.bool))
    short = MaskedTokens(torch.randint(4, 9, (2, 2, 2)), torch.ones(2, 2, 2, dtype=torch.bool))
    long = MaskedTokens(torch.randint(4, 9, (2, 2, 3)), torch.ones(2, 2, 3, dtype=torch.bool))
    for slope in (1.0, 3.0):
        direction = torch.zeros(3, 3)
        direction[1, 2] = slope

        class Sloped(torch.nn.Module):
            scores_sets = False
            embed = trainer.network.embed

            def forward(self, memory, embedded, real, direction=direction):
                return DiscriminatorOutput((embedded * direction).sum((-1, -2)), embedded)

        trainer.network = Sloped()
        trainer.network.embed = lambda ids, real: torch.randn(*ids.shape, 3)
        penalty = trainer._gradient_penalty(seen, short, long)
        assert float(penalty) == pytest.approx((slope - 1) ** 2, abs=1e-5)


def test_gumbel_can_match_features():
    torch.manual_seed(1)
    captioner = tiny_captioner(vocabulary=9).train()
    plain = objective(estimator="gumbel", warm_up_steps=0, least_accuracy=0.0)
    matching = objective(
        estimator="gumbel", warm_up_steps=0, least_accuracy=0.0, feature_matching=10.0
    )
    losses = []
    for training in (plain, matching):
        torch.manual_seed(3)
        losses.append(training(captioner, batch())[0].detach())
    assert float(losses[1]) > float(losses[0])


def test_the_estimator_chooses_the_objective():
    assert isinstance(objective(), PolicyGAN)
    assert isinstance(objective(estimator="gumbel"), GumbelGAN)


@pytest.mark.parametrize(
    "target", ["captionlab.objectives.Adversarial", "captionlab.objectives.adversarial.Adversarial"]
)
def test_stored_configurations_find_the_objective_by_its_earlier_name(target):
    node = rename_targets({"objective": {"_target_": target, "estimator": "gumbel"}})["objective"]
    assert locate(node["_target_"]) is build_gan


def test_values_that_cannot_be_are_said():
    with pytest.raises(UserError, match="did you mean 'policy'"):
        objective(estimator="polcy")
    with pytest.raises(UserError, match=r"adversarial=1\.5 is not between 0 and 1"):
        objective(adversarial=1.5)
    with pytest.raises(UserError, match=r"rollouts=2 belongs to objective\.estimator=policy"):
        objective(estimator="gumbel", rollouts=2)
    with pytest.raises(UserError, match=r"feature_matching=1\.0 belongs to .*=gumbel"):
        objective(feature_matching=1.0)
    with pytest.raises(UserError, match=r"objective\.loss=wgan gives scores"):
        objective(loss="wgan", signal="probability")
    with pytest.raises(UserError, match=r"objective\.sample_temperature=0 must be positive"):
        objective(sample_temperature=0)
    with pytest.raises(UserError, match=r"objective\.warm_up_steps=-1 must not be negative"):
        objective(warm_up_steps=-1)
    sets = partial(SetDiscriminator, embedding=8, hidden=8)
    few = {"a": [[5, 2]] * 4, "b": [[6, 2]] * 2}
    text = TrainingText(few, decode=str, tokenize=str.split)
    with pytest.raises(UserError, match=r"image 'b' has 2: say objective\.num_samples=2"):
        objective(discriminator=sets, reward=Reward(cider=1.0)).on_fit_start(text, {})
    text = TrainingText(few, str, str.split, captions_per_image=2)
    with pytest.raises(UserError, match=r"say data\.captions_per_image=4"):
        objective(discriminator=sets, reward=Reward(cider=1.0)).on_fit_start(text, {})
