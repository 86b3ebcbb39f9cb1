"""Distillation: the loss by hand, teachers that stay what they are, and those that a run had."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from captionlab.core.errors import UserError
from captionlab.decoding.beam import Beam
from captionlab.decoding.ensemble import Ensemble
from captionlab.models.captioner import Captioner
from captionlab.objectives.distillation.objective import Distillation
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy
from captionlab.objectives.staged import Staged
from tests_support import tiny_preset

LENGTHS = torch.tensor([[5, 4], [3, 0], [5, 5]])


def batch() -> SimpleNamespace:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, 9, (3, 2, 5), generator=generator)
    tokens = tokens.masked_fill(torch.arange(5) >= LENGTHS[..., None], 0)
    tokens[..., 0] = torch.where(LENGTHS > 0, 1, 0)
    return SimpleNamespace(
        prompts=None,
        images=torch.randint(0, 256, (3, 3, 32, 32), generator=generator).byte(),
        tokens=tokens,
        lengths=LENGTHS,
        image_ids=[0, 1, 2],
        references=[["a"]] * 3,
        scored_ids=None,
    )


def captioners() -> list[Captioner]:
    """Two teachers of different architectures; the first has other weights than a student."""
    first = tiny_preset("show_tell", vocabulary=9)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return [first, tiny_preset("transformer", vocabulary=9)]


def distilled(**settings) -> Distillation:
    objective = Distillation(teacher=["a", "b"], **settings)
    objective.set_teachers(captioners())
    return objective


@torch.no_grad()
def word_logits(captioner: Captioner, example: SimpleNamespace) -> np.ndarray:
    """Logits (M,V) of the real tokens, by steps of decoding."""
    tokens, rows = example.tokens, []
    state = captioner.init_state(captioner.encode(example.images), 2)
    for step in range(tokens.shape[-1] - 1):
        logits, state = captioner.step(tokens[..., step], state)
        rows.append(logits)
    real = torch.arange(tokens.shape[-1] - 1) < example.lengths[..., None] - 1
    return torch.stack(rows, 2)[real].double().numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.3, 1.0), (1.0, 2.5)])
def test_the_loss_is_that_of_hinton_et_al(alpha: float, temperature: float):
    example, student = batch(), tiny_preset("attn_lstm", vocabulary=9)
    loss, diagnostics = distilled(alpha=alpha, temperature=temperature)(student, example)
    q = sum(softmax(word_logits(t, example) / temperature) for t in captioners()) / 2
    logits = word_logits(student, example)
    p = softmax(logits / temperature)
    kl = (q * (np.log(q) - np.log(p))).sum(-1).mean()
    targets = np.concatenate(
        [
            caption[1:length].numpy()
            for image, lengths in zip(example.tokens, LENGTHS, strict=True)
            for caption, length in zip(image, lengths.tolist(), strict=True)
        ]
    )
    nll = -np.log(softmax(logits)[np.arange(len(targets)), targets]).mean()
    assert diagnostics["kl"].item() == pytest.approx(kl, rel=1e-4)
    assert diagnostics["nll"].item() == pytest.approx(nll, rel=1e-4)
    assert diagnostics["agreement"].item() == pytest.approx((q.argmax(-1) == p.argmax(-1)).mean())
    expected = alpha * temperature**2 * kl + (1 - alpha) * nll
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_student_learns_to_say_what_its_teacher_says():
    torch.manual_seed(0)
    student = tiny_preset("attn_lstm", vocabulary=9)
    objective = distilled(alpha=1.0)
    before = [p.clone() for t in objective._teachers for p in t.captioner.parameters()]
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    found = []
    for _ in range(15):
        loss, diagnostics = objective(student, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(diagnostics["kl"].item())
    assert found[-1] < 0.5 * found[0]
    after = [p for t in objective._teachers for p in t.captioner.parameters()]
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, after, strict=True))
    assert not list(objective.parameters())


def test_sequences_are_the_captions_that_the_teachers_write_together():
    example, student = batch(), tiny_preset("attn_lstm", vocabulary=9)
    objective = distilled(level="sequence", alpha=0.4, beam_size=2, max_length=5)
    loss, diagnostics = objective(student, example)
    ensemble = Ensemble(captioners())
    special = {"bos_id": 1, "eos_id": 2, "pad_id": 0, "banned_ids": (3,)}
    with torch.no_grad():
        memory = ensemble.encode(example.images)
        written = Beam(beam_size=2, max_length=5)(ensemble, memory, **special)
    total, words = 0.0, 0
    for image in range(3):
        ids = written.tokens[image, 0][: written.lengths[image, 0]]
        inputs = torch.cat([torch.tensor([1]), ids[:-1]])[None, None]
        with torch.no_grad():
            hidden = student(example.images[image : image + 1], inputs).hidden
            total += F.cross_entropy(student.logits(hidden)[0, 0], ids, reduction="sum").item()
        words += len(ids)
    assert diagnostics["teacher_nll"].item() == pytest.approx(total / words, rel=1e-4)
    nll = CrossEntropy()(student, example)[0].item()
    assert loss.item() == pytest.approx(0.4 * total / words + 0.6 * nll, rel=1e-4)


def test_a_run_goes_on_with_the_teachers_it_had_and_no_others():
    state = distilled().state_dict()
    distilled().load_state_dict(state)
    other = Distillation(teacher=["a", "b"])
    other.set_teachers(captioners()[::-1])
    with pytest.raises(UserError, match="are not the captioners that the run began with"):
        other.load_state_dict(state)


def test_each_of_two_stages_has_its_own_teachers():
    first, then = Distillation(teacher="a"), Distillation(teacher=["b"])
    both = Staged(first=first, then=then)
    assert both.teacher_paths == ("a", "b")
    both.set_teachers(captioners())
    assert first.captions(batch()).tokens.shape[:2] == (3, 1)
    assert not torch.equal(first.word_probabilities(batch()), then.word_probabilities(batch()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "sentence"}, "did you mean 'sequence'"),
        ({"alpha": 0.0}, r"alpha=0.0 is not in \(0, 1\]"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"temperature": 2.0, "level": "sequence"}, "leave it at 1.0"),
    ],
)
def test_values_that_cannot_be_are_said(settings: dict, message: str):
    with pytest.raises(UserError, match=message):
        Distillation(teacher="a", **settings)


def test_nobody_to_learn_from_is_said():
    with pytest.raises(UserError, match=r"give objective\.teacher=CKPT"):
        Distillation(teacher=[]).set_teachers([])
