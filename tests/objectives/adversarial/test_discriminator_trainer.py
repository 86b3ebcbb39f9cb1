"""A discriminator that learns on several ranks is one discriminator."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from captionlab.core.memory import Memory
from captionlab.objectives.adversarial.discriminator_trainer import (
    DiscriminatorTrainer,
    MaskedTokens,
)
from captionlab.objectives.adversarial.discriminators import CNNDiscriminator
from ranks_support import run_ranks


def network(seed: int) -> CNNDiscriminator:
    torch.manual_seed(seed)
    return CNNDiscriminator(embedding=8, hidden=8, dropout=0.0, vocabulary_size=9, memory_dim=4)


def data() -> tuple[Memory, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    # the other image is the same in a half and in the whole
    pooled = torch.randn(2, 4, generator=generator).repeat(2, 1)
    ids = torch.randint(4, 9, (2, 4, 2, 4), generator=generator)
    return Memory(pooled[:, None], pooled, torch.ones(4, 1, dtype=torch.bool)), ids[0], ids[1]


def learn(trainer: DiscriminatorTrainer, part: slice) -> None:
    memory, real, generated = data()
    present = torch.ones_like(real, dtype=torch.bool)
    missing = present.clone()
    missing[0, 1] = False  # one caption less: the ranks have not as many
    present, missing = present[part], missing[part]
    for _ in range(3):
        trainer.accumulate(
            memory.each(lambda t: t[part]),
            MaskedTokens(real[part], missing),
            MaskedTokens(generated[part], present),
        )
        trainer.step()


def work(rank: int, folder: Path) -> None:
    trainer = DiscriminatorTrainer(
        network(seed=rank), learning_rate=0.1, loss="bce", accuracy_limit=1.1
    )
    trainer.broadcast_weights()
    learn(trainer, slice(2 * rank, 2 * rank + 2))
    torch.save(trainer.network.state_dict(), folder / f"{rank}.pt")


def test_two_ranks_learn_what_one_learns_of_the_whole_batch(tmp_path: Path):
    run_ranks(work, tmp_path)
    alone = DiscriminatorTrainer(
        copy.deepcopy(network(0)), learning_rate=0.1, loss="bce", accuracy_limit=1.1
    )
    learn(alone, slice(0, 4))
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, value in alone.network.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value)
