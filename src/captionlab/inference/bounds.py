"""How much a checkpoint may ask for, held against what it has before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.nn.modules import module as registration

from captionlab.config.check import check
from captionlab.core.errors import UserError
from captionlab.core.registry import require_allowed
from captionlab.inference.checkpoints import Checkpoint

# What a file's configuration may ask for, far above what any captioner has.
LARGEST_IMAGE = 1024  # pixels a side
LARGEST_NUMBER = 2**24  # of anything in a model, vocabularies and positions included
LARGEST_INDEX = 2**31 - 1  # tokens of training captions, which the file holds one by one
LARGEST_DECODING = 1024  # beams, samples, tokens
LONGEST_LIST = 1_000  # in a model or a decoding: building one takes time with its length
MOST_UNSTORED = 2**26  # elements of buffers that no file holds, such as tables of positions


def require_decoding(
    decoding: Mapping[str, object], checkpoint: Checkpoint, trust: Sequence[str]
) -> None:
    """Check a checkpoint's decoding, as overrides left it, before it is built.

    Raises:
        UserError: if the file names a class that is not allowed, or asks for more beams, samples or
            tokens than can be meant.
    """
    path, stored = checkpoint.path, checkpoint.config["decoding"]
    require_allowed({"decoding": decoding}, trust, {"decoding": stored})
    check({"decoding": decoding})
    of_file = dict(_numbers(stored, "decoding"))
    for key, value in _numbers(decoding, "decoding"):
        if of_file.get(key) == value and not abs(value) <= LARGEST_DECODING:
            raise UserError(
                f"{path}: {key}={value} is more than a checkpoint may ask for "
                f"({LARGEST_DECODING}): choose another, such as decoding=beam."
            )


def require_bounded(model: Mapping[str, object], path: Path) -> None:
    """Raise UserError for a number that no model has: some are allocated by no weight's name."""
    for key, value in _numbers(model, "model"):
        largest = LARGEST_IMAGE if key.endswith("image_size") else LARGEST_NUMBER
        if key.startswith(("model.decoder.index[", "model.retrieval.index[")):
            largest = LARGEST_INDEX
        if not abs(value) <= largest:
            raise UserError(f"{path}: {key}={value} is more than a model can have ({largest}).")


def _numbers(node: object, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _numbers(child, f"{key}.{name}")
    elif isinstance(node, list):
        if len(node) > LONGEST_LIST:
            raise UserError(f"{key} has {len(node):,} items, and {LONGEST_LIST:,} are the most.")
        for index, child in enumerate(node):
            yield from _numbers(child, f"{key}[{index}]")
    # random seeds are no sizes
    elif isinstance(node, int) and not isinstance(node, bool) and not key.endswith("seed"):
        yield key, node


@contextmanager
def registered_at_most(tensors: int) -> Iterator[None]:
    """Stop a construction that registers many more parameters or modules than a file has tensors.

    Networks that are cut after they are built, or share weights, have a few more than are stored.
    """
    counts = {"parameters": 4 * tensors + 1_000, "modules": 50 * tensors + 10_000}

    def spend(what: str) -> None:
        counts[what] -= 1
        if counts[what] < 0:
            raise UserError(
                f"this model would have many more {what} than the {tensors} weights of its checkpoint"
            )

    handles = (
        registration.register_module_parameter_registration_hook(lambda *_: spend("parameters")),
        registration.register_module_module_registration_hook(lambda *_: spend("modules")),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def require_small_buffers(outline: nn.Module, path: Path) -> None:
    """Raise UserError for a model with large tables of numbers that no file holds."""
    stored = set(outline.state_dict())
    elements = sum(b.numel() for name, b in outline.named_buffers() if name not in stored)
    if elements > MOST_UNSTORED:
        raise UserError(
            f"{path}: its model would have tables of {elements:,} numbers that are in no file."
        )
