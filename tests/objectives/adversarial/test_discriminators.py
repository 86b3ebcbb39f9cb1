"""Discriminators: what they must tell apart, and what must not matter to them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.objectives.adversarial.discriminators import (
    CNNDiscriminator,
    Discriminator,
    MatchingDiscriminator,
    SetDiscriminator,
)

KINDS = [MatchingDiscriminator, CNNDiscriminator, SetDiscriminator]
VOCABULARY, WIDTH = 12, 6


def build(kind: type[Discriminator], **more) -> Discriminator:
    torch.manual_seed(0)
    settings = {"vocabulary_size": VOCABULARY, "memory_dim": WIDTH, "dropout": 0.0, **more}
    return kind(embedding=16, hidden=16, **settings)


def memory(images: int = 8) -> Memory:
    pooled = torch.randn(images, WIDTH, generator=torch.Generator().manual_seed(1))
    return Memory(pooled.unsqueeze(1), pooled, torch.ones(images, 1, dtype=torch.bool))


def captions(low: int, high: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(low, high, (8, 3, 5), generator=generator)
    real = torch.arange(5) < torch.randint(2, 6, (8, 3, 1), generator=generator)
    return ids, real


def score(network: Discriminator, seen: Memory, ids: torch.Tensor, real: torch.Tensor):
    return network(seen, network.embed(ids, real), real).scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spectral", [False, True])
def test_it_learns_to_tell_words_apart(kind, spectral):
    network, seen = build(kind, spectral=spectral), memory()
    persons, machines = captions(4, 8), captions(7, 11, seed=3)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(80):
        loss = nn.functional.softplus(-score(network, seen, *persons)).mean()
        loss = loss + nn.functional.softplus(score(network, seen, *machines)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (score(network, seen, *persons) > 0).float().mean() > 0.9
    assert (score(network, seen, *machines) < 0).float().mean() > 0.9


def test_the_matching_one_learns_whose_caption_it_is():
    network, seen = build(MatchingDiscriminator), memory()
    ids = torch.arange(4, 12).view(8, 1, 1).expand(8, 3, 5)
    real = torch.ones(8, 3, 5, dtype=torch.bool)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        loss = nn.functional.softplus(-score(network, seen, ids, real)).mean()
        loss = loss + nn.functional.softplus(score(network, seen, ids.roll(1, 0), real)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (score(network, seen, ids, real) > 0).float().mean() > 0.9
    assert (score(network, seen, ids.roll(1, 0), real) < 0).float().mean() > 0.9


def test_the_set_one_tells_alike_captions_from_different_ones():
    network, seen = build(SetDiscriminator), memory()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    real = torch.ones(8, 3, 5, dtype=torch.bool)

    def sets(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        different = torch.randint(4, 12, (8, 3, 5), generator=torch.Generator().manual_seed(step))
        return different, different[:, :1].expand(-1, 3, -1)

    for step in range(150):
        different, alike = sets(step)
        loss = nn.functional.softplus(-score(network, seen, different, real)).mean()
        loss = loss + nn.functional.softplus(score(network, seen, alike, real)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    different, alike = sets(1000)
    found = score(network, seen, different, real)
    assert torch.equal(found, found[:, :1].expand(-1, 3))
    assert (found > 0).float().mean() > 0.9
    assert (score(network, seen, alike, real) < 0).float().mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_one_hot_words_are_words_and_what_follows_the_end_is_nothing(kind):
    network, seen = build(kind).eval(), memory()
    ids, real = captions(4, 11)
    expected = score(network, seen, ids, real)
    changed = torch.where(real, ids, torch.randint(4, 11, ids.shape))
    torch.testing.assert_close(score(network, seen, changed, real), expected)
    soft = nn.functional.one_hot(ids[real], VOCABULARY).float().requires_grad_()
    found = network(seen, network.embed_soft(soft, real), real).scores
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert soft.grad.abs().sum() > 0


def test_what_a_caption_adds_to_its_set_is_the_set_with_it_and_without():
    network, seen = build(SetDiscriminator).eval(), memory()
    ids, real = captions(4, 11)
    found = network.leave_one_out(seen, network.encode(network.embed(ids, real), real), real)
    for k in range(3):
        rest = [j for j in range(3) if j != k]
        without = score(network, seen, ids[:, rest], real[:, rest])
        torch.testing.assert_close(found[:, k], without[:, 0])
        absent = real.clone()
        absent[:, k] = False
        torch.testing.assert_close(score(network, seen, ids, absent)[:, 0], without[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_captions_that_stand_in_for_others_are_judged_in_their_place(kind):
    network, seen = build(kind).eval(), memory()
    ids, _ = captions(4, 11)
    new, _ = captions(4, 11, seed=5)
    new = torch.cat([new, new.flip(1)], 1)  # two for each of the three
    read, fresh = (
        network.encode(
            network.embed(part, torch.ones_like(part).bool()), torch.ones_like(part).bool()
        )
        for part in (ids, new)
    )
    found = network.replace_each(seen, read, fresh, 2)
    there = torch.ones(8, 3, 5, dtype=torch.bool)
    for place in range(6):
        changed = ids.clone()
        changed[:, place // 2] = new[:, place]
        expected = score(network, seen, changed, there)[:, place // 2]
        torch.testing.assert_close(found[:, place], expected)


def test_a_caption_shorter_than_a_window_is_judged():
    network = build(CNNDiscriminator, windows=(4,))
    ids, real = captions(4, 11)
    assert torch.isfinite(score(network, memory(), ids[..., :2], real[..., :2])).all()
    with pytest.raises(UserError, match=r"windows=\[0\]"):
        build(CNNDiscriminator, windows=(0,))
