import pytest
import torch
from test_cross_entropy import batch

from captionlab.core.errors import UserError
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy
from captionlab.objectives.likelihood.variational import Variational
from tests_support import tiny_captioner

LATENT = ("model/decoder=latent_lstm", "model.decoder.latent=6")


def test_the_bound_is_likelihood_plus_divergence_per_token():
    captioner, example = tiny_captioner(*LATENT).eval(), batch()
    objective = Variational(anneal_epochs=0.0, free_bits=0.0)
    loss, said = objective(captioner, example)
    plain, _ = CrossEntropy()(captioner, example)
    assert said["nll"].item() == pytest.approx(plain.item(), abs=1e-6)
    captions, tokens = 5, 16
    expected = plain.item() + said["kl"].item() * captions / tokens
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_annealing_grows_from_nothing_to_one():
    captioner, example = tiny_captioner(*LATENT).eval(), batch()
    objective, losses = Variational(anneal_epochs=4.0, free_bits=0.0), []
    for epoch in (0.0, 2.0, 4.0, 9.0):
        objective.on_train_batch_start(epoch)
        losses.append(objective(captioner, example)[0].item())
    plain = CrossEntropy()(captioner, example)[0].item()
    assert losses[0] == pytest.approx(plain, abs=1e-6)
    assert losses[1] - plain == pytest.approx((losses[2] - plain) / 2, rel=1e-3)
    assert losses[3] == losses[2] > losses[1]


def test_dimensions_below_their_free_bits_are_not_pushed_down():
    captioner, example = tiny_captioner(*LATENT).eval(), batch()
    objective = Variational(anneal_epochs=0.0, free_bits=100.0)
    loss, _ = objective(captioner, example)
    loss.backward()
    assert captioner.decoder.posterior[0].weight.grad.abs().max() == 0
    assert loss.item() > 100 * 6 * 5 / 16


def test_absent_captions_do_not_count_in_the_divergence():
    captioner, example = tiny_captioner(*LATENT).eval(), batch()
    objective = Variational(anneal_epochs=0.0, free_bits=0.0)
    _, said = objective(captioner, example)
    example.tokens = torch.cat([example.tokens, torch.zeros_like(example.tokens)], 1)
    example.lengths = torch.cat([example.lengths, torch.zeros_like(example.lengths)], 1)
    _, again = objective(captioner, example)
    assert again["kl"].item() == pytest.approx(said["kl"].item(), rel=1e-5)


def _kl_after_training(free_bits: float) -> float:
    torch.manual_seed(0)
    captioner, example = tiny_captioner(*LATENT, "model.decoder.dropout=0.0").train(), batch()
    objective = Variational(anneal_epochs=0.0, free_bits=free_bits)
    optimizer = torch.optim.Adam(captioner.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss, said = objective(captioner, example)
        loss.backward()
        optimizer.step()
    return said["kl"].item()


def test_free_bits_keep_the_latent_from_falling_silent():
    assert _kl_after_training(free_bits=0.5) > 2 * _kl_after_training(free_bits=0.0)


def test_active_units_are_those_beyond_their_free_bits():
    captioner, example = tiny_captioner(*LATENT).eval(), batch()
    with torch.no_grad():
        captioner.decoder.posterior[2].bias[:3] += 1.0  # means far from the prior's in 3 dimensions
    units = [
        Variational(free_bits=bits)(captioner, example)[1]["active_units"] for bits in (0.2, 9.0)
    ]
    assert units == [3, 0]


def test_a_captioner_without_a_latent_is_sent_to_cvae():
    with pytest.raises(UserError, match="model=cvae"):
        Variational()(tiny_captioner().eval(), batch())


@pytest.mark.parametrize("key", ["anneal_epochs", "free_bits"])
def test_negative_values_are_refused(key: str):
    with pytest.raises(UserError, match=rf"objective\.{key}"):
        Variational(**{key: -1.0})
