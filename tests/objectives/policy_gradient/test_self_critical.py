"""Self-critical training: its gradient, its baselines, its check of the start."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding.greedy import Greedy
from captionlab.decoding.prompted import Prompted
from captionlab.decoding.sampling import Sampling
from captionlab.objectives.policy_gradient.policy import (
    DeterministicStepModel,
    sequence_log_probs,
    without_dropout,
)
from captionlab.objectives.policy_gradient.self_critical import SelfCritical
from captionlab.objectives.prompted_images import prompted_images
from tests_support import PRESETS, Counting, tiny_captioner, tiny_preset

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0, "banned_ids": (3,)}


def batch(images: int = 4) -> SimpleNamespace:
    tokens = torch.tensor([[1, 5, 6, 2]]).expand(images, 1, 4)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), generator=generator)
    return SimpleNamespace(
        prompts=None,
        images=pixels.byte(),
        tokens=tokens,
        lengths=torch.full((images, 1), 4),
        image_ids=list(range(images)),
        references=[["a"]] * images,
    )


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("name", PRESETS)
def test_log_probabilities_are_those_of_the_sampling_policy(name, temperature):
    """Word by word, from the steps that drew them: what is never drawn has no probability."""
    captioner = tiny_preset(name).train()
    with torch.no_grad():
        memory = captioner.encode(batch().images)
    with without_dropout(captioner.decoder):
        drawn = Sampling(num_samples=3, max_length=6, seed=3, temperature=temperature)(
            DeterministicStepModel(captioner), memory, **IDS
        )
        found, lengths = sequence_log_probs(captioner, memory, drawn, temperature)
        expected = stepped(captioner, memory, drawn, temperature)
    assert captioner.decoder.training
    torch.testing.assert_close(found.detach(), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(lengths, drawn.lengths)
    found.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in captioner.parameters())


def asked_batch() -> SimpleNamespace:
    """Two images with three captions behind two different prompts each, the second one's unequal."""
    one = batch(2)
    one.tokens = torch.tensor([[[1, 5, 6, 2]] * 3] * 2)
    one.lengths = torch.full((2, 3), 4)
    one.prompts = torch.tensor([[[7, 8], [9, 0], [7, 8]], [[9, 0], [9, 0], [0, 0]]])
    one.scored_ids = [["a", "b", "a"], ["c", "c", "d"]]
    return one


def test_each_prompt_of_an_image_is_sampled_for_once():
    captioner = tiny_preset("attn_lstm")
    memory = captioner.encode(asked_batch().images)
    asked = prompted_images(memory, asked_batch())
    assert asked.image_ids == ["a", "b", "c", "d"]
    assert asked.prompts[:, 0].tolist() == [[7, 8], [9, 0], [9, 0], [0, 0]]
    assert torch.equal(asked.memory.slots, memory.slots[[0, 0, 1, 1]])


@pytest.mark.parametrize("name", PRESETS)
def test_log_probabilities_behind_prompts_are_those_of_the_sampling_policy(name):
    captioner = tiny_preset(name).train()
    with torch.no_grad(), without_dropout(captioner.decoder):
        asked = prompted_images(captioner.encode(asked_batch().images), asked_batch())
        model = DeterministicStepModel(captioner)
        drawn = asked.sample(
            Sampling(num_samples=3, max_length=6, seed=3), model, asked.memory, **IDS
        )
        log_probs, lengths = sequence_log_probs(
            captioner, asked.memory, drawn, prompts=asked.prompts
        )
        expected = []
        for row, prompt in enumerate(asked.prompts[:, 0].tolist()):
            ids = torch.tensor([[i for i in prompt if i]], dtype=torch.long)
            alone = Prompted(model, ids, 1) if ids.numel() else model
            one = replace(drawn, tokens=drawn.tokens[[row]], lengths=drawn.lengths[[row]])
            expected.append(stepped(alone, asked.memory.take(torch.tensor([row])), one, 1.0))
    torch.testing.assert_close(log_probs, torch.cat(expected), atol=1e-4, rtol=1e-4)
    assert torch.equal(lengths, drawn.lengths)


class OnlyFor(Counting):
    """Rewards one word behind one question, and another behind the others."""

    def __call__(self, image_ids, captions):
        words = [5 if image_id == "a" else 6 for image_id in image_ids]
        shares = [
            caption.count(word) / len(caption)
            for word, caption in zip(words, captions, strict=True)
        ]
        return {"reward": np.array(shares)}


def test_captions_become_what_their_own_question_rewards():
    torch.manual_seed(0)
    captioner = tiny_preset("attn_lstm").train()
    objective = SelfCritical(reward=OnlyFor(), max_length=4, num_samples=8, check_steps=0)
    optimizer = torch.optim.Adam(captioner.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss, _ = objective(captioner, asked_batch())
        loss.backward()
        optimizer.step()
    captioner.eval()
    with torch.no_grad():
        asked = prompted_images(captioner.encode(asked_batch().images), asked_batch())
        captions = asked.sample(Greedy(max_length=4), captioner, asked.memory, **IDS).tokens[:, 0]
    assert (captions[0] == 5).sum() >= 3
    assert (captions[1] == 6).sum() >= 3


def test_a_connector_learns_from_the_memory_that_the_samples_are_drawn_of():
    captioner = tiny_preset("attn_lstm", "model/connector=linear").train()
    memories = []
    captioner.connector.register_forward_hook(lambda *call: memories.append(call[-1]))
    loss, _ = SelfCritical(reward=Counting(), max_length=6, check_steps=0)(captioner, batch())
    loss.backward()
    assert len(memories) == 1
    assert captioner.connector.slots[0].weight.grad.abs().sum() > 0


@torch.no_grad()
def stepped(captioner, memory, drawn, temperature):
    state, token = captioner.init_state(memory, 3), torch.ones_like(drawn.lengths)
    total = torch.zeros(drawn.lengths.shape)
    for step in range(drawn.tokens.shape[-1]):
        logits, state = captioner.step(token, state)
        logits[..., [0, 1, 3]] = -torch.inf
        if step == 0:
            logits[..., 2] = -torch.inf
        token = drawn.tokens[..., step]
        log_prob = (logits / temperature).log_softmax(-1).gather(-1, token[..., None])[..., 0]
        total += log_prob.masked_fill(drawn.lengths <= step, 0.0)
    return total


@pytest.mark.parametrize("baseline", ["greedy", "leave_one_out", "moving_average"])
def test_it_makes_what_is_rewarded_likelier(baseline):
    torch.manual_seed(0)
    captioner = tiny_captioner(vocabulary=9).train()
    objective = SelfCritical(reward=Counting(), baseline=baseline, max_length=6, check_steps=0)
    optimizer = torch.optim.Adam(captioner.parameters(), lr=3e-3)
    rewards = []
    for _ in range(12):
        loss, diagnostics = objective(captioner, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewards.append(float(diagnostics["reward"]))
    assert max(rewards[6:]) > rewards[0] + 3.0


def test_the_loss_is_minus_advantage_times_log_probability(monkeypatch):
    captioner = tiny_captioner(vocabulary=9).eval()
    objective = SelfCritical(reward=Counting(), num_samples=3, max_length=5, check_steps=0)
    kept = {}
    sampling = Sampling.__call__

    def keep(self, *args, **more):
        kept["drawn"] = sampling(self, *args, **more)
        return kept["drawn"]

    monkeypatch.setattr(Sampling, "__call__", keep)
    example = batch()
    loss, diagnostics = objective(captioner, example)
    drawn = kept["drawn"]
    log_probs = stepped(captioner, captioner.encode(example.images), drawn, 1.0)
    total = 0.0
    for row in range(4):
        rewards = [ids.count(5) for ids in drawn.tokens[row].tolist()]
        for k in range(3):
            others = (sum(rewards) - rewards[k]) / 2
            total -= (rewards[k] - others) * float(log_probs[row, k])
    assert loss.item() == pytest.approx(total / int(drawn.lengths.sum()), abs=1e-4)
    assert 0 <= diagnostics["ended"] <= 1


def test_only_words_that_were_said_reach_the_vocabulary(monkeypatch):
    captioner = tiny_captioner(vocabulary=9).eval()
    rows = []
    logits = captioner.logits
    monkeypatch.setattr(captioner, "logits", lambda hidden: rows.append(hidden) or logits(hidden))
    objective = SelfCritical(reward=Counting(), num_samples=4, max_length=8, check_steps=0)
    _, diagnostics = objective(captioner, batch())
    assert [hidden.ndim for hidden in rows] == [2]
    assert len(rows[0]) == round(float(diagnostics["length"]) * 16)


def test_the_moving_average_follows_and_is_kept():
    captioner = tiny_captioner(vocabulary=9).eval()
    objective = SelfCritical(
        reward=Counting(), baseline="moving_average", decay=0.5, check_steps=0, max_length=4
    )
    first = objective(captioner, batch())[1]
    second = objective(captioner, batch())[1]
    assert second["baseline"].item() == pytest.approx(first["reward"].item())
    expected = 0.5 * (first["reward"] + second["reward"])
    assert objective.state_dict()["average"].item() == pytest.approx(expected.item())


def test_a_start_that_does_not_fit_is_found_out():
    captioner = tiny_captioner(vocabulary=9).eval()
    objective = SelfCritical(reward=Counting(), check_steps=2, max_length=4)
    objective.on_stage_start({"cider": 90.0})
    objective(captioner, batch())
    with pytest.raises(UserError, match=r"mean cider is .* the starting model's val/cider was 90"):
        objective(captioner, batch())
    fits = SelfCritical(reward=Counting(), check_steps=1, max_length=4)
    fits.on_stage_start({"cider": 0.5})
    fits(captioner, batch())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "greddy"}, "did you mean 'greedy'"),
        ({"num_samples": 1}, "at least 2 for objective.baseline=leave_one_out"),
        ({"decay": 1.0}, r"decay=1.0 is not in \[0, 1\)"),
        ({"likelihood": -1.0}, "must not be negative"),
    ],
)
def test_values_that_cannot_be_are_said(settings, message):
    with pytest.raises(UserError, match=message):
        SelfCritical(reward=Counting(), **settings)
