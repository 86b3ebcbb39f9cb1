import math

import pytest
import torch
from test_cross_entropy import batch

from captionlab.core.errors import UserError
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy
from captionlab.objectives.likelihood.scheduled_sampling import ScheduledSampling, draw
from tests_support import tiny_captioner

MODELS = [
    ["model/attention=none"],
    ["model/attention=gated_additive"],
    ["model/decoder=gru"],
    ["model/decoder=latent_lstm"],
]


@pytest.mark.parametrize("overrides", MODELS, ids=lambda o: o[0])
def test_without_sampling_it_is_cross_entropy_to_its_gradients(overrides: list[str]):
    captioner, example = tiny_captioner(*overrides).eval(), batch()
    gradients = []
    for objective in (CrossEntropy(), ScheduledSampling()):
        captioner.zero_grad()
        loss, _ = objective(captioner, example)
        loss.backward()
        weight = captioner.decoder.output.weight.grad.clone()
        gradients.append((loss.detach(), weight, captioner.decoder.words.weight.grad.clone()))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=0)


def test_sampled_inputs_change_the_loss_and_its_targets_stay_gold():
    captioner, example = tiny_captioner().eval(), batch()
    objective = ScheduledSampling(max_probability=1.0, increase=1.0, every=1)
    plain, _ = objective(captioner, example)
    objective.on_train_batch_start(1.0)
    drawn, said = objective(captioner, example)
    assert said["probability"] == 1
    assert drawn.item() != pytest.approx(plain.item(), abs=1e-5)
    assert drawn.item() == pytest.approx(math.log(11), abs=0.5)


def test_draws_follow_the_distribution_and_are_never_padding():
    logits = torch.tensor([9.0, 0.0, math.log(3.0)]).expand(1, 20_000, 3)
    ids = draw(logits, pad_id=0)
    assert set(ids.unique().tolist()) == {1, 2}
    assert (ids == 2).float().mean().item() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    ("options", "epoch", "expected"),
    [
        ({}, 4.9, 0.0),
        ({}, 5.0, 0.05),
        ({}, 17.0, 0.15),
        ({}, 99.0, 0.25),
        ({"start_epoch": 10.0}, 14.0, 0.0),
        ({"decay": "exponential", "k": 0.9}, 2.0, 0.19),
        ({"decay": "inverse_sigmoid", "k": 9.0}, 0.0, 0.1),
        ({"decay": "inverse_sigmoid", "k": 9.0, "max_probability": 1.0}, 90.0, 0.99959),
    ],
)
def test_the_probability_follows_its_schedule(options, epoch, expected):
    objective = ScheduledSampling(**options)
    objective.on_train_batch_start(epoch)
    assert objective.probability == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"decay": "lineer"}, "linear"),
        ({"max_probability": 1.5}, "max_probability"),
        ({"every": 0}, "every"),
        ({"decay": "exponential", "k": 1.0}, "objective.k"),
        ({"decay": "inverse_sigmoid", "k": 0.5}, "objective.k"),
    ],
)
def test_an_impossible_schedule_is_refused(options, named):
    with pytest.raises(UserError, match=named):
        ScheduledSampling(**options)
