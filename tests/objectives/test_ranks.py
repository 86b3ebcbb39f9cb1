"""The mean of two processes' gradients is the gradient of one process with the joined batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from captionlab.decoding.generated import Generated
from captionlab.objectives.cross_entropy import CrossEntropy
from captionlab.objectives.self_critical import SelfCritical
from tests_support import Counting, tiny_captioner

# captions of the first half are far longer than those of the second
LENGTHS = torch.tensor([[9, 8], [10, 0], [3, 3], [2, 4]])
WHOLE = slice(0, 4)


def batch(part: slice) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, 9, (4, 2, 10), generator=generator)
    steps = torch.arange(10)
    tokens = tokens.masked_fill(steps >= LENGTHS[..., None], 0)
    tokens[..., 0] = torch.where(LENGTHS > 0, 1, 0)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=generator).byte()
    return SimpleNamespace(
        images=pixels[part],
        tokens=tokens[part],
        lengths=LENGTHS[part],
        image_ids=list(range(4))[part],
        references=[["a"]] * len(tokens[part]),
    )


def drawn(part: slice) -> Generated:
    """Captions that every process agrees on, of different lengths."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.tensor([[7, 6, 8], [8, 7, 7], [2, 1, 2], [1, 2, 3]])
    tokens = torch.randint(4, 9, (4, 3, 8), generator=generator)
    tokens = tokens.masked_fill(torch.arange(8) >= lengths[..., None], 0)
    nothing = torch.zeros(4, 3)[part]
    return Generated(tokens[part], lengths[part], nothing, nothing, None)


def gradients(kind: str, part: slice) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    captioner = tiny_captioner(vocabulary=9)
    captioner.encoder.eval()  # batch norm knows its own process alone
    if kind == "self_critical":
        objective = SelfCritical(reward=Counting(), likelihood=0.5, check_steps=0)
        objective.sampling = lambda *_, **__: drawn(part)
        objective.sampling.temperature = 1.0
    else:
        objective = CrossEntropy(label_smoothing=0.1)
        captioner.decoder.attention_penalty = 1.0
    loss, diagnostics = objective(captioner, batch(part))
    loss.backward()
    found = {n: p.grad for n, p in captioner.named_parameters() if p.grad is not None}
    return {**found, "loss": loss.detach(), "nll": diagnostics["nll"]}


def work(rank: int, folder: str, kind: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(gradients(kind, slice(2 * rank, 2 * rank + 2)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", ["cross_entropy", "self_critical"])
def test_tokens_count_the_same_wherever_they_are(kind: str, tmp_path: Path):
    mp.spawn(work, args=(str(tmp_path), kind), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, value in gradients(kind, WHOLE).items():
        torch.testing.assert_close((first[name] + second[name]) / 2, value, msg=name)
