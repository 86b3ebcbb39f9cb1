import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from captionlab.core.errors import UserError
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import caption_nll, shift
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy, doubly_stochastic
from tests_support import tiny_captioner

PAD, BOS, EOS = 0, 1, 2


def batch(vocabulary: int = 11) -> SimpleNamespace:
    tokens = torch.full((2, 3, 7), PAD)
    lengths = torch.tensor([[7, 4, 2], [5, 0, 3]])
    for b in range(2):
        for k in range(3):
            n = int(lengths[b, k])
            if n:
                words = torch.randint(4, vocabulary, (n - 2,))
                tokens[b, k, :n] = torch.cat([torch.tensor([BOS]), words, torch.tensor([EOS])])
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    return SimpleNamespace(
        prompts=None,
        images=images,
        tokens=tokens,
        lengths=lengths,
        image_ids=[1, 2],
        references=[["a"], ["b"]],
    )


def test_shift_marks_exactly_the_tokens_after_bos_as_real():
    example = batch()
    inputs, targets, real = shift(example, PAD)
    assert real.sum().item() == sum(n - 1 for n in example.lengths.flatten().tolist() if n)
    assert (targets[real] != PAD).all()
    assert (inputs[real] != EOS).all()


def test_loss_equals_one_caption_at_a_time():
    example = batch()
    captioner: Captioner = tiny_captioner(vocabulary=11).eval()
    loss, diagnostics = CrossEntropy()(captioner, example)
    total, count = 0.0, 0
    memory = captioner.encode(example.images)
    hidden, *_ = captioner.decoder(memory, example.tokens[..., :-1])
    for b in range(2):
        for k in range(3):
            n = int(example.lengths[b, k])
            for t in range(n - 1):
                logits = captioner.logits(hidden[b, k, t])
                total += F.cross_entropy(logits, example.tokens[b, k, t + 1]).item()
                count += 1
    assert loss.item() == pytest.approx(total / count, abs=1e-5)
    assert diagnostics["nll"].item() == pytest.approx(loss.item())


def test_padding_never_changes_the_loss():
    example = batch()
    captioner = tiny_captioner(vocabulary=11).eval()
    loss, _ = CrossEntropy()(captioner, example)
    example.tokens = torch.cat([example.tokens, torch.full((2, 3, 4), PAD)], dim=-1)
    longer, _ = CrossEntropy()(captioner, example)
    assert longer.item() == pytest.approx(loss.item(), abs=1e-6)


def test_label_smoothing_equals_torch_and_reports_the_plain_likelihood():
    example = batch()
    captioner = tiny_captioner(vocabulary=11).eval()
    plain, _ = CrossEntropy()(captioner, example)
    smooth, diagnostics = CrossEntropy(label_smoothing=0.1)(captioner, example)
    assert diagnostics["nll"].item() == pytest.approx(plain.item(), abs=1e-6)
    assert smooth.item() != pytest.approx(plain.item(), abs=1e-4)


def test_image_nll_adds_up_to_the_loss():
    example = batch()
    captioner = tiny_captioner(vocabulary=11).eval()
    loss, _ = CrossEntropy()(captioner, example)
    totals, counts = caption_nll([captioner], [captioner.encode(example.images)], example)
    assert (totals.sum() / counts.sum()).item() == pytest.approx(loss.item(), abs=1e-5)
    assert counts.tolist() == [10, 6]


def test_doubly_stochastic_penalty_by_hand():
    weights = torch.tensor([[[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]]])  # B=1 K=1 T=3 N=2
    real = torch.tensor([[[True, True, False]]])
    expected = (1 - 0.75) ** 2 + (1 - 1.25) ** 2
    assert doubly_stochastic(weights, real).item() == pytest.approx(expected)


def test_absent_captions_do_not_count_in_the_penalty():
    weights = torch.rand(1, 2, 3, 4)
    real = torch.tensor([[[True, True, True], [False, False, False]]])
    alone = doubly_stochastic(weights[:, :1], real[:, :1])
    assert doubly_stochastic(weights, real).item() == pytest.approx(alone.item())


@pytest.mark.parametrize("value", [-0.1, 1.0, math.inf])
def test_impossible_label_smoothing_is_refused(value: float):
    with pytest.raises(UserError, match=r"objective\.label_smoothing"):
        CrossEntropy(label_smoothing=value)
