"""The options of adversarial training, and the objective that they choose."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from captionlab.core.errors import UserError, did_you_mean
from captionlab.decoding.sampling import Sampling
from captionlab.objectives.adversarial.discriminator_trainer import (
    DiscriminatorFactory,
    DiscriminatorLoss,
    DiscriminatorTrainer,
)
from captionlab.objectives.adversarial.gumbel_gan import GumbelGAN
from captionlab.objectives.adversarial.objective import AdversarialParts
from captionlab.objectives.adversarial.policy_gan import PolicyGAN, Signal
from captionlab.objectives.policy_gradient.rewards import Reward
from captionlab.objectives.schedules import LinearSchedule

Estimator = Literal["policy", "gumbel"]


def build_gan(
    *,
    discriminator: DiscriminatorFactory,
    reward: Reward,
    estimator: Estimator = "policy",
    loss: DiscriminatorLoss = "bce",
    adversarial: float = 0.8,
    ramp_epochs: float = 0.0,
    likelihood: float = 0.5,
    feature_matching: float = 0.0,
    signal: Signal = "log_odds",
    num_samples: int = 5,
    sample_temperature: float = 0.5,
    rollouts: int = 0,
    max_length: int = 20,
    warm_up_steps: int = 100,
    discriminator_lr: float = 1e-3,
    discriminator_limit: float = 0.95,
    least_accuracy: float = 0.52,
    temperature: float = 1.0,
    final_temperature: float = 0.5,
    anneal_epochs: float = 2.0,
) -> PolicyGAN | GumbelGAN:
    """Return the adversarial objective of an ``estimator`` of the captioner's gradient.

    ``PolicyGAN`` alone reads ``signal`` and ``rollouts``; ``GumbelGAN`` alone ``feature_matching``
    and the temperature, which falls to ``final_temperature`` over ``anneal_epochs``. The rest is
    both's (``AdversarialObjective``): ``num_samples`` captions an image are drawn at
    ``sample_temperature``; ``adversarial`` is lambda, reached in a straight line over
    ``ramp_epochs``; ``loss``, ``discriminator_lr`` and ``discriminator_limit`` are those of the
    ``DiscriminatorTrainer``.

    Raises:
        UserError: for values outside their range, or that belong to the other estimator.
    """
    _require_known("estimator", estimator, get_args(Estimator))
    _require_known("loss", loss, get_args(DiscriminatorLoss))
    _require_known("signal", signal, get_args(Signal))
    _require_positive(sample_temperature=sample_temperature, discriminator_lr=discriminator_lr)
    if signal == "probability" and loss != "bce":
        raise UserError(
            f"objective.signal=probability: objective.loss={loss} gives scores, no "
            "probabilities; say objective.signal=log_odds"
        )
    parts: AdversarialParts = {
        "discriminator": discriminator,
        "trainer": partial(
            DiscriminatorTrainer,
            learning_rate=discriminator_lr,
            loss=loss,
            accuracy_limit=discriminator_limit,
        ),
        "reward": reward,
        "sampling": Sampling(
            num_samples=num_samples, temperature=sample_temperature, max_length=max_length
        ),
        "weight": LinearSchedule(0.0, adversarial, ramp_epochs),
        "likelihood": likelihood,
        "warm_up_steps": warm_up_steps,
        "least_accuracy": least_accuracy,
    }
    if estimator == "policy":
        _require_unset("feature_matching", feature_matching, "gumbel", estimator)
        return PolicyGAN(signal=signal, rollouts=rollouts, **parts)
    _require_unset("rollouts", rollouts, "policy", estimator)
    return GumbelGAN(
        temperature=LinearSchedule(temperature, final_temperature, anneal_epochs),
        feature_matching=feature_matching,
        **parts,
    )


def _require_known(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"objective.{key}={value!r}: {did_you_mean(str(value), known)}")


def _require_positive(**values: float) -> None:
    for key, value in values.items():
        if not value > 0:
            raise UserError(f"objective.{key}={value} must be positive")


def _require_unset(key: str, value: float, belongs_to: str, estimator: str) -> None:
    if not value >= 0:
        raise UserError(f"objective.{key}={value} must not be negative")
    if value:
        raise UserError(
            f"objective.{key}={value} belongs to objective.estimator={belongs_to}, not {estimator}"
        )
