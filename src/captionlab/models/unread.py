"""Weights that no decoder sees, which therefore cannot learn: behind the layers that are read, say.

DistributedDataParallel refuses a parameter that asks for a gradient and never has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call

from captionlab.core.memory import Memory
from captionlab.models.connectors import LinearConnector, QFormerConnector


def freeze_unread(
    encoder: nn.Module,
    connector: nn.Module | None,
    *,
    chooses_layers: bool,
    reads_slots: bool,
    reads_pooled: bool,
) -> None:
    """Freeze what a new captioner's encoder and connector have and its other parts do not read.

    Parts of a user's own stay as they are: a connector may read the whole memory.

    Args:
        chooses_layers: whether the encoder was told which layers, or which vector, to read, or
            ``leaves_unread`` always. Otherwise it stays as it is: the optimizers of earlier runs would
            not fit.
        reads_slots, reads_pooled: what decoder and tag head read of the memory.
    """
    if isinstance(connector, LinearConnector | QFormerConnector):
        connector.slots.requires_grad_(reads_slots)
        connector.pooled.requires_grad_(reads_pooled)
    elif connector is not None:
        reads_slots = reads_pooled = True
    if not chooses_layers:
        return
    from captionlab.models.encoders.torchvision import ImageEncoder  # slow to import

    if not isinstance(encoder, ImageEncoder):
        return
    learning = {name for name, p in encoder.named_parameters() if p.requires_grad}
    if not learning:
        return
    for name in learning - _read(encoder, encoder.image_size, reads_slots, reads_pooled):
        encoder.get_parameter(name).requires_grad_(False)


def _read(encoder: nn.Module, image_size: int, reads_slots: bool, reads_pooled: bool) -> set[str]:
    """Return the parameters that a gradient reaches, by a run on the meta device: it takes no memory."""
    tensors: dict[str, Tensor] = {
        name: torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)
        for name, tensor in chain(encoder.named_parameters(), encoder.named_buffers())
    }
    images = torch.empty(1, 3, image_size, image_size, device="meta")
    encoder.eval()  # a batch norm cannot train on one value a channel
    with torch.enable_grad(), torch.device("meta"):
        memory: Memory = functional_call(encoder, tensors, (images,))
    encoder.train()
    parts = ((memory.slots, reads_slots), (memory.pooled, reads_pooled))
    leaves = _leaves([part for part, is_read in parts if is_read])
    return {name for name, tensor in tensors.items() if id(tensor) in leaves}


def _leaves(outputs: Sequence[Tensor]) -> set[int]:
    """Return the identities of the tensors to which the graph of outputs leads, as DDP looks for them."""
    waiting = [output.grad_fn for output in outputs]
    nodes = set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting += [before for before, _ in node.next_functions]
    return {id(node.variable) for node in nodes if hasattr(node, "variable")}
